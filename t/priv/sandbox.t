#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# "gatepost sandbox-test" tries what each sandbox refuses; "sandbox = no" leaves it out and says so; the
# unit for systemd is as tight as the program allows.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Test::More;

plan skip_all => 'rights are dropped by root alone' if $> != 0;
plan skip_all => 'a build with sanitizers has no filter'
    if slurp(build() . '/config.h') =~ /^#define GP_SANITIZE/m;

my $gp = Gatepost::Instance->new;
$gp->start;
my @roles = qw(smtpd cleanup qmgr keeper smtp-client resolver vault crew-keeper crew tally local);
my ($status, $out) = $gp->tool('gatepost', 'sandbox-test', 'ALL');
is($status, 0, 'everything is refused') or diag(grep {!/refused/} map {"$_\n"} split /\n/, $out);
for my $role (@roles) {
    my @lines = grep {/^\Q$role\E /} split /\n/, $out;
    cmp_ok(scalar(grep {/refused/} @lines), '>=', 48, "$role: acts refused");
    is(scalar(grep {!/ (?:refused: |allowed: its work$)/} @lines), 0, "$role: nothing else");
}
my %may = map { $_ => 1 } $out =~ /^(\S+ +\S.*?)  +allowed/mg;
is_deeply([sort map {s/ +/ /r} keys %may], [sort 'smtp-client connect by TCP',
    'resolver connect by TCP', 'resolver make a UDP socket', 'crew-keeper fork', 'crew-keeper set a limit',
    'tally list the root directory', 'tally fork'], 'what is a role\'s own work');

($status, $out) = $gp->tool('gatepost', 'sandbox-test', 'nobody');
is($status, 1, 'no such role');
like($out, qr/no such role; expected ALL, smtpd/, 'which there are');
($status, $out) = $gp->tool('gatepost', 'sandbox-test', '--list', 'tally');
is($status, 0, 'a list');
like($out, qr/^unveil: \. rwc$/m, 'names');
like($out, qr/^pledge: stdio .*\binet\b.*\bproc\b/m, 'promises');
like($out, qr/^  fdatasync$/m, 'calls');

# New settings may have names of users that it cannot look up any more; the C library tries sockets.
my ($qmgr) = @{ $gp->roles->{qmgr} };
for my $n (120, 121) {
    $gp->set(authorized_mailq_users => join ', ', ('nobody') x $n);
    $gp->reload;
}
is(join(' ', @{ $gp->roles->{qmgr} }), $qmgr, 'qmgr lives on');

# Without it.
sub seccomp {
    my %roles = %{ $gp->roles };
    return join ' ', map {"$_=" . join ',', map { slurp("/proc/$_/status") =~ /^Seccomp:\s+(\d)/m ? $1 : '?' }
        @{ $roles{$_} // [] } } qw(smtpd cleanup qmgr keeper);
}
like(seccomp(), qr/^smtpd=2(?:,2)* cleanup=2(?:,2)* qmgr=2 keeper=2$/, 'confined');
$gp->mark;
$gp->set(sandbox => 'no');
($status, $out) = $gp->tool('gatepost', 'check');
is($status, 0, 'check takes sandbox = no');
like($out, qr/main\.cf:\d+:\d+: warning: sandbox = no: .*expected yes/, 'and warns of it');
$gp->restart;
like(seccomp(), qr/^smtpd=0(?:,0)* cleanup=0(?:,0)* qmgr=0 keeper=0$/, 'not confined');
$gp->wait_log(qr/smtpd\[\d+\]: warning: sandbox = no: this process is not confined/, 'the log warns of it');
is($gp->mail('a@x.test', 'b@y.test', "Subject: x\r\n\r\nx\r\n")->{code}, 250, 'mail is taken all the same');
$gp->stop;

# The unit: needs systemd's own program, which quickstart installs.
need('systemd-analyze');
my $dir = tempdir('unit');
my $unit = slurp(build() . '/etc/gatepost.service');
spew("$dir/gatepost.service", $unit);
($status, $out) = run_out('systemd-analyze', 'security', '--offline=yes', '--threshold=25', "$dir/gatepost.service");
my ($score) = $out =~ /exposure level for gatepost\.service: ([\d.]+)/;
ok(defined $score && $score <= 2.5, 'systemd-analyze: at most 2.5') or diag($out);
note("exposure level $score");
# What is not set, or not as tight as can be, has its reason before it.
for my $name (qw(User ProtectHome PrivateNetwork IPAddressDeny PrivateUsers)) {
    like($unit, qr/^# $name=/m, "the reason for $name=");
}

# It works with the capabilities that the unit leaves it, and with none that is new.
my ($bound) = $unit =~ /^CapabilityBoundingSet=(.*)$/m;
my $caps = join ',', '-all', map {s/^CAP_/+/r =~ tr/A-Z/a-z/r} split ' ', $bound;
my $small = Gatepost::Instance->new;
($status, $out) = $small->tool('gatepost', 'make-directories');
is($status, 0, 'make-directories') or diag($out);
($status, $out) = run_out('setpriv', '--bounding-set', $caps, '--inh-caps', '-all', '--no-new-privs',
    build() . '/sbin/gatepost', '-c', $small->dir, 'start');
is($status, 0, 'start with these capabilities alone') or diag("$out\n" . slurp($small->dir . '/log'));
$small->{started} = 1;
is($small->mail('a@x.test', 'root@mx.example', "Subject: x\r\n\r\nx\r\n")->{code}, 250, 'mail is taken');
my ($before) = @{ $small->roles->{smtpd} };
my ($mask) = slurp('/proc/' . $small->master_pid . '/status') =~ /^CapEff:\t(\w+)/m;
is(unpack('%32b*', pack 'H*', $mask), scalar(split ' ', $bound), 'master has them and no other');
$small->reload;
ok(wait_until(15, sub { !is_alive($before) }), 'workers are replaced');
$small->stop;
done_testing;
