#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Everything around may restart: each worker, the log daemon, the log file. Nothing waits longer than
# the other side was away, and no process opens a path for it.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use IO::Socket::UNIX;
use Socket;
use Test::More;

my $sink = Gatepost::Sink->new;
my $gp = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . $sink->port });
$gp->start;
my $serial = 0;

# One message goes through soon, as time goes for programs on this machine: before a minute of back-off.
my $pace = Gatepost::Pace->new;
sub passes {
    my ($name) = @_;
    my $rcpt = 'r' . ++$serial . '@next.test';
    my $from = time;
    my $ok = wait_until(30, sub { $gp->mail('a@client.test', $rcpt, "Subject: $name\r\n\r\n")->{code} == 250 })
        && wait_until(30, sub { grep { $_->{rcpts}[0] eq $rcpt } $sink->messages })
        && $pace->within(15, $from);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok($ok, $name) or diag tail($gp->{log}, 20);
}

passes('a message');

# Workers die; master says so and replaces them.
for my $role (qw(smtpd cleanup qmgr keeper smtp-client resolver tally)) {
    $gp->mark;
    my $pid = $gp->kill_role($role);
    ok($pid, "$role is killed") or next;
    my $program = $role eq 'keeper' ? 'qmgr' : $role;
    $gp->wait_log(qr/gatepost\/(?:master|qmgr)\[\d+\]: warning: process \S*$program pid $pid killed by signal 9$/,
        "log: $role") if $role ne 'keeper';
    passes("a message after the death of $role");
    ok(wait_until(30, sub { my $r = $gp->roles->{$role}; $r && !grep { $_ == $pid } @$r }), "$role runs again");
}

# The log file is moved away and begun again.
my ($status, $out) = $gp->tool('gatepost', 'logrotate');
is($status, 0, 'logrotate') or diag $out;
my @old = glob "$gp->{log}.*";
is(scalar @old, 1, 'the old log is kept');
# root's spawners of local and virtual among them
sub with_old_log {
    my $roles = $gp->roles;
    return grep { my $pid = $_; grep { (readlink($_) // '') =~ /^\Q$gp->{log}\E(?:\.| \(deleted\))/ } glob "/proc/$pid/fd/*" }
        map {@$_} values %$roles;
}
ok(wait_until(10, sub { !with_old_log() }), 'no process keeps the old one') or diag join "\n", map { slurp("/proc/$_/comm") } with_old_log();
$gp->{marks} = 0;
passes('a message after logrotate');
$gp->wait_log(qr/smtp\[\d+\]: .* status=sent/, 'the new log file is used');
$gp->stop;

# syslog: a daemon that comes late, goes and comes back. /dev is our own here.
# Its nodes are made afresh (a bind of the real one would be emptied when the test is cleaned up) and
# complete before anybody sees them: who writes to a device that is not there makes a file of it.
my $dev = "$gp->{dir}/dev";
mkdir $dev;
system('mount', '-t', 'tmpfs', 'dev', $dev) == 0 or die 'mount';
my %node = (null => [1, 3], zero => [1, 5], full => [1, 7], random => [1, 8], urandom => [1, 9],
    tty => [5, 0]);
for my $name (sort keys %node) {
    system('mknod', '-m', '666', "$dev/$name", 'c', @{ $node{$name} }) == 0 or die "mknod $name";
}
symlink '/proc/self/fd', "$dev/fd";
system('mount', '--bind', $dev, '/dev') == 0 or die 'mount --bind';
sub log_daemon {
    unlink '/dev/log';
    my $sock = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => '/dev/log') or die "/dev/log: $!";
    chmod 0666, '/dev/log';
    $sock->blocking(0);
    return $sock;
}

# True when a line comes that matches.
sub logged {
    my ($sock, $pattern, $seconds) = @_;
    return wait_until($seconds // 5, sub {
        while (defined $sock->recv(my $line, 8192)) {
            last if $line eq '';
            return $line if $line =~ $pattern;
        }
        return;
    });
}
my $syslog = log_daemon();
$gp->set(maillog_file => undef);
$gp->start;
passes('a message with syslog');
like(logged($syslog, qr/r$serial\@.*status=sent/) // '', qr/^<22>\w{3} [ \d]\d [\d:]{8} (?:\S+ )?gatepost\/smtp\[\d+\]: \w+: to=</,
    'a line in the form of syslog');
close $syslog;
unlink '/dev/log';
passes('a message without a log daemon');
$syslog = log_daemon();
ok(wait_until(5, sub { passes_quietly(); logged($syslog, qr/status=sent/, 0.2) }), 'the log goes to the new daemon');
$gp->stop;
system 'umount', '-R', '-l', '/dev';
done_testing;

sub passes_quietly { $gp->mail('a@client.test', 'q@next.test', "\r\n") }
