# SPDX-License-Identifier: ISC
# TLS: handshakes, relay inside of STARTTLS, idle sessions, a slow vault. Both systems serve TLS
# from connect on a second port, with the same certificate.
package Bench::Tls;
use strict;
use warnings;
use Bench::Lab;
use Gatepost::Kit;
use Time::HiRes qw(sleep);

our %KEY = ('P-256' => [qw(ec -pkeyopt ec_paramgen_curve:prime256v1)], 'RSA-2048' => ['rsa:2048']);

# Settings of either; kind of KEY, files in DIR. Adds the second port.
sub settings {
    my ($mta, $dir, $kind) = @_;
    my $file = "$dir/$kind.pem";
    if (!-e $file) {
        sh(qw(openssl req -x509 -nodes -days 30 -subj /CN=bench.example -keyout), "$file.key", '-out',
            "$file.cert", '-newkey', @{ $KEY{$kind} });
        spew($file, slurp("$file.key") . slurp("$file.cert"));
        chmod 0600, $file;
    }
    $mta->{tls_port} = free_port();
    $mta->{services} = ["$mta->{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes"];
    return (smtpd_tls_chain_files => $file, smtpd_tls_security_level => 'may',
        smtpd_junk_command_limit => 1000000);
}

# With a core for the clients alone: what these cost is not taken from the server.
our @apart;

# The words that tls_load prints at its end.
sub _run {
    my ($port, @arg) = @_;
    my ($status, $out) = run_out(@apart, build() . '/bench/tls_load', $port, @arg);
    die "tls_load $port @arg: $out" if $status;
    my %r;
    @r{qw(start end done resumed median p99 most)} = split ' ', $out;
    return \%r;
}

# new or resumed, from PROCESSES clients for so many seconds.
sub handshakes {
    my ($mta, $mode, $processes, $seconds) = @_;
    _run($mta->{tls_port}, $mode, $processes, 0.5);    # workers are there, tickets too
    my $cpu = cgroup_cpu($mta->cg);
    my $r = _handshakes($mta, $mode, $processes, $seconds);
    my $used = cgroup_cpu($mta->cg) - $cpu;
    # What either starts later inherits its core.
    run_out('taskset', '-a', '-cp', 0, $_) for cgroup_pids($mta->cg);
    local @apart = qw(taskset -c 1);
    my $one = _handshakes($mta, $mode, $processes, $seconds);
    return { rate => _rate($r), apart => _rate($one), cpu => 1e6 * $used / $r->{done} };
}

sub _rate { $_[0]{done} / ($_[0]{end} - $_[0]{start}) }

sub _handshakes {
    my ($mta, $mode, $processes, $seconds) = @_;
    my $r = _run($mta->{tls_port}, $mode, $processes, $seconds);
    my $share = $r->{done} ? $r->{resumed} / $r->{done} : 0;
    die sprintf("%s: %.2f of the sessions are resumed\n", $mode, $share)
        if $mode eq 'resumed' ? $share < 0.9 : $share > 0;
    return $r;
}

# COUNT messages by STARTTLS, EACH a session, until the sink has them; FILE: they leave by STARTTLS too.
sub relay {
    my ($mta, $sink_port, $count, $each, $file) = @_;
    my $sink = sink_start(build(), $sink_port, $count, $file ? ('-t', $file) : ());
    my $cpu = cgroup_cpu($mta->cg);
    my $r = _run($mta->port, 'relay', 50, $count, $each);
    my ($n, undef, undef, $last) = sink_result($sink, 120);
    die "only $n of $count messages arrived\n" if $n < $count;
    sleep 1.5;
    sink_stop($sink);
    return { rate => $count / ($last - $r->{start}),
        cpu => 1000 * (cgroup_cpu($mta->cg) - $cpu) / $count };
}

# Memory of COUNT sessions after EHLO, in KB a session; the same in the clear is in row idle.
sub idle {
    my ($mta, $count) = @_;
    _run($mta->{tls_port}, 'new', 4, 0.5);
    my $before = pss($mta->cg);
    my $out = "$mta->{dir}/idle.out";
    my $pid = spawn({ out => $out }, build() . '/bench/tls_load', $mta->{tls_port}, 'idle', 1, $count);
    wait_until(120, sub { (slurp($out) // '') =~ /ready/ || !is_alive($pid) });
    (slurp($out) // '') =~ /ready/ or die "idle: " . (slurp($out) // '') . "\n";
    sleep 0.5;
    my $kb = (pss($mta->cg) - $before) / $count;
    stop_pid($pid);
    return $kb;
}

# How long a NOOP of a running session takes while others shake hands and vault is stopped for
# 200 ms, again and again; STOP false: the same without that.
sub slow_vault {
    my ($mta, $stop, $seconds) = @_;
    my @vaults = grep { (slurp("/proc/$_/comm") // '') =~ /^vault/ } cgroup_pids($mta->cg);
    die "no vault\n" if !@vaults;
    _run($mta->{tls_port}, 'new', 4, 0.5);
    my ($ping, $load) = map {"$mta->{dir}/$_.out"} qw(ping load);
    unlink $ping, $load;
    my @pids = (
        spawn({ out => $ping }, build() . '/bench/tls_load', $mta->{tls_port}, 'ping', 1, $seconds),
        spawn({ out => $load }, build() . '/bench/tls_load', $mta->{tls_port}, 'new', 20, $seconds));
    my $end = mono() + $seconds;
    while (mono() < $end) {
        kill 'STOP', @vaults if $stop;
        sleep 0.2;
        kill 'CONT', @vaults if $stop;
        sleep 0.02;
    }
    waitpid $_, 0 for @pids;
    my %r;
    @r{qw(start end done resumed median p99 most)} = split ' ', slurp($ping) // '';
    my @load = split ' ', slurp($load) // '';
    @load == 7 && defined $r{most} or die 'slow vault: ' . (slurp($ping) // '') . (slurp($load) // '') . "\n";
    return { %r, handshake => $load[4], handshakes => $load[2] / $seconds };
}

1;
