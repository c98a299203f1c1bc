#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gatepost start, stop, status, reload, check, service: what they return, say and leave behind, and
# that a reload cuts no session.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use IO::Socket::INET;
use Test::More;

my $sink = Gatepost::Sink->new;
my $second = free_port();
my $gp = Gatepost::Instance->new(
    main => { relayhost => '[127.0.0.1]:' . $sink->port },
    master => ["127.0.0.1:$second inet n - n - - smtpd", ' -o smtpd_banner=second']);

sub gatepost { $gp->tool('gatepost', @_) }
sub is_open { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Timeout => 2) }
sub greeting { my $s = is_open($_[0]) or return ''; return <$s> // '' }

my ($status, $out) = gatepost('status');
is($status, 3, 'status of a stopped one is 3');
like($out, qr/\Agatepost: stopped$/m, 'and says so');
($status, $out) = gatepost('stop');
is($status, 0, 'stop of a stopped one succeeds') or diag $out;
like($out, qr/\S/, 'and says so');
($status, $out) = gatepost('check');
is($status, 0, 'check finds no mistake') or diag $out;

$gp->start;
ok(is_open($gp->port), 'start returns when the port answers');
like(greeting($second), qr/^220 second\r$/, 'an -o override holds for its service');
($status, $out) = gatepost('status');
is($status, 0, 'status of a running one');
like($out, qr/\Agatepost: running, pid \d+, since .*, generation \d+$/m, 'its first line');
like($out, qr/^\S*\b$_\b/m, "a row for $_") for $gp->port, $second, 'cleanup', 'qmgr', 'smtp';
my $pid = $gp->master_pid;
($status, $out) = gatepost('start');
isnt($status, 0, 'a second start fails');
is($gp->master_pid, $pid, 'and changes nothing');

# A port that somebody else has.
my $taken = Gatepost::Instance->new(port => $second);
($status, $out) = $taken->try_start;
isnt($status, 0, 'start with a port that is taken fails');
like($out, qr/\b$second\b/, 'and names it');
is_deeply($taken->roles, {}, 'and leaves nothing running');

# Reload: an open transaction goes on, new sessions get the new settings.
my $old = $gp->session;
$old->cmd('MAIL FROM:<a@client.test>', 250);
$old->cmd('RCPT TO:<b@next.test>', 250);
$gp->set(smtpd_banner => 'renewed');
like(greeting($gp->port), qr/^220 mx\.example /, 'nothing changes before the reload');
$gp->reload;
ok(wait_until(5, sub { greeting($gp->port) =~ /^220 renewed\r$/ }), 'a new session has the new banner');
$old->cmd('DATA', 354);
$old->send("Subject: across\r\n\r\n.\r\n");
is($old->reply->{code}, 250, 'the old transaction ends well');
my ($m) = $sink->wait_messages(1);
like($m->{content}, qr/^Subject: across\r$/m, 'and its mail arrives');
is($gp->master_pid, $pid, 'the same master');
like((gatepost('status'))[1], qr/generation \d+/, 'status still answers');
$old->quit;

# A reload with a mistake changes nothing and says where it is.
my $main = slurp($gp->dir . '/main.cf');
my @mistakes = (
    ["smtpd_banner = wrong\nmessage_size_limit = many\n", qr/^\S*main\.cf:\d+:\d+: error: .*expected/m, 'a number'],
    ["smtpd_banner = wrong\nmy_hostname = x\n",           qr/^\S*main\.cf:\d+:\d+: error: .*myhostname/m, 'a name'],
    ["smtpd_banner = wrong\nvirtual_alias_maps = hash:\n", qr/^\S*main\.cf:\d+:\d+: error: /m, 'a table'],
    ["smtpd_banner = wrong\nsmtpd_recipient_restrictions = permit_mynetwork, reject\n",
        qr/^\S*main\.cf:\d+:\d+: error: .*permit_mynetworks/m, 'a restriction'],
);
for my $case (@mistakes) {
    my ($text, $pattern, $name) = @$case;
    spew($gp->dir . '/main.cf', $main . $text);
    ($status, $out) = gatepost('check');
    is($status, 1, "$name: check fails");
    like($out, $pattern, "$name: check says where");
    is(scalar(() = $out =~ /error:/g), 1, "$name: once") or diag $out;
    ($status, $out) = gatepost('reload');
    isnt($status, 0, "$name: reload fails");
    like($out, $pattern, "$name: reload says the same");
    like(greeting($gp->port), qr/^220 renewed\r$/, "$name: nothing has changed");
}
spew($gp->dir . '/main.cf', $main);
my $master = slurp($gp->dir . '/master.cf');
spew($gp->dir . '/master.cf', $master . "smtp2 inet n - n - many smtpd\n");
($status, $out) = gatepost('check');
is($status, 1, 'master.cf: check fails');
like($out, qr/^\S*master\.cf:\d+:\d+: error: /m, 'master.cf: check says where');
spew($gp->dir . '/master.cf', $master);

# One service alone.
is((gatepost('service', "127.0.0.1:$second", 'status'))[0], 0, 'service status: running');
is((gatepost('service', "127.0.0.1:$second", 'stop'))[0], 0, 'service stop');
ok(wait_until(5, sub { !is_open($second) }), 'its port is closed');
ok(is_open($gp->port), 'the other one is not');
is((gatepost('service', "127.0.0.1:$second", 'status'))[0], 3, 'service status: stopped');
$gp->reload;
is((gatepost('service', "127.0.0.1:$second", 'status'))[0], 3, 'it stays stopped over a reload');
is((gatepost('service', "127.0.0.1:$second", 'start'))[0], 0, 'service start');
ok(wait_until(5, sub { greeting($second) =~ /^220 second/ }), 'its port answers again');
is((gatepost('service', 'nothing', 'status'))[0], 1, 'no such service');

# Only the queue manager stopped: mail is taken and waits.
is((gatepost('service', 'qmgr', 'stop'))[0], 0, 'qmgr stopped');
is($gp->mail('a@client.test', 'waits@next.test', "Subject: waits\r\n\r\n")->{code}, 250, 'mail is accepted');
is((gatepost('status'))[0], 1, 'status: running, but a service is not');
is((gatepost('service', 'qmgr', 'start'))[0], 0, 'qmgr started');
ok(wait_until(10, sub { grep { $_->{rcpts}[0] eq 'waits@next.test' } $sink->messages }), 'and delivered');

# Stop: idle sessions are told, no process is left, the port is free at once.
my $idle = $gp->session;
$gp->stop;
my $r = $idle->reply;
ok($r->{code} == 421 || $r->{code} == 0, 'an idle session ends') or diag $r->{text};
is_deeply($gp->roles, {}, 'no process is left');
ok(!is_open($gp->port), 'the port is closed');
$gp->start;
$gp->restart;
ok(is_open($gp->port), 'restart');
isnt($gp->master_pid, $pid, 'a new master');
$gp->stop;

# In the foreground: what a program complains of by itself would be seen there.
my $fg = spawn({ out => $gp->dir . '/fg' }, build() . '/sbin/gatepost', '-c', $gp->dir, 'start-fg');
ok(wait_until(15, sub { greeting($gp->port) }), 'start-fg serves');
ok(wait_until(10, sub { grep { (slurp("/proc/$_/cmdline") // '') =~ /keeper/ } map {@$_} values %{ $gp->roles } }), 'the keeper has its title');
is((gatepost('stop'))[0], 0, 'stop ends it');
is(slurp($gp->dir . '/fg'), '', 'and nothing was said outside of the log');

# Without root an instance is for development: it runs as who started it, and says so.
# The programs are copied to where everybody may go.
my $copy = tempdir('programs');
run_ok('copy', 'cp', '-rL', build() . '/sbin', build() . '/libexec', $copy);
my $dev = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . $sink->port,
    daemon_directory => "$copy/libexec", command_directory => "$copy/sbin" });
chown 65534, 65534, $dev->dir, glob($dev->dir . '/*');
my @as_nobody = ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups');
($status, $out) = run_out(@as_nobody, "$copy/sbin/gatepost", '-c', $dev->dir, 'start');
is($status, 0, 'start without root');
like($out, qr/development/, 'and what that means');
if ($status == 0) {
    is($dev->mail('a@client.test', 'dev@next.test', "Subject: dev\r\n\r\n")->{code}, 250, 'it takes mail');
    ok(wait_until(10, sub { grep { $_->{rcpts}[0] eq 'dev@next.test' } $sink->messages }), 'and relays it');
    my %uids = map { my ($uid) = (stat "/proc/$_")[4]; defined $uid ? ($uid => 1) : () } map {@$_} values %{ $dev->roles };
    is_deeply([keys %uids], [65534], 'every process is the same user');
    run_ok('stop without root', @as_nobody, "$copy/sbin/gatepost", '-c', $dev->dir, 'stop');
}
done_testing;
