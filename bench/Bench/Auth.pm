# SPDX-License-Identifier: ISC
# The row auth: logins over SMTP against vault.
package Bench::Auth;
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Tables;

# One run of bench/auth_load as a hash.
sub load_result {
    my ($file) = @_;
    my %r;
    @r{qw(good refused later median p99 most)} = split ' ', slurp($file) // '';
    return \%r;
}

sub load {
    my ($port, $mode, $processes, $seconds, @login) = @_;
    my $out = tempdir('load') . '/out';
    return ($out, spawn({ out => $out }, build() . '/bench/auth_load', $port, $mode, $processes, $seconds, @login));
}

sub load_run {
    my ($out, $pid) = load(@_);
    waitpid $pid, 0;
    return load_result($out);
}

# LINE gets a label and a text.
sub run {
    my ($seconds, $line) = @_;
    my $dir = tempdir('auth');
    my ($status, $hash) = run_out('/bin/sh', '-c', 'echo pencil | "$0" password --scheme CRYPT crypt', build() . '/sbin/gatepost');
    die "gatepost password: $hash" if $status;
    my $table = table('hash', "$dir/users", 'scram ' . scram_record('pencil', 4096) . "\n$hash");
    my $gp = Gatepost::Instance->new(main => {
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $table,
        log_level => 'error', smtpd_error_sleep_time => 0,
    });
    my ($failed, $why) = $gp->try_start;
    die "gatepost start: $why" if $failed;
    Gatepost::Kit::at_end(sub { $gp->tool('gatepost', 'stop') });
    my $r = load_run($gp->port, 'scram', 8, $seconds, 'scram', 'pencil');
    $line->('scram', sprintf '%.0f sessions/s with SCRAM-SHA-256 (refused %d, put off %d), median %.2f ms, 99%% %.2f ms',
        $r->{good} / $seconds, $r->{refused}, $r->{later}, $r->{median}, $r->{p99});
    my $idle = load_run($gp->port, 'greet', 1, $seconds, 'x', 'x');
    my ($out, $pid) = load($gp->port, 'plain', 40, $seconds + 2, 'crypt', 'wrong');
    select undef, undef, undef, 1;
    my $busy = load_run($gp->port, 'greet', 1, $seconds, 'x', 'x');
    waitpid $pid, 0;
    $r = load_result($out);
    $line->('plain', sprintf '%.1f wrong passwords/s refused by yescrypt from 40 clients of one address, %d put off, median %.0f ms',
        $r->{refused} / ($seconds + 2), $r->{later}, $r->{median});
    $line->('greeting', sprintf 'of others: median %.2f ms, 99%% %.2f ms; meanwhile %.2f and %.2f ms',
        $idle->{median}, $idle->{p99}, $busy->{median}, $busy->{p99});
    $gp->tool('gatepost', 'stop');
}

1;
