#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Tables that are asked over a socket by running programs: answers, no answer, garbage, a service that
# goes and comes back. A table that does not answer is 451 for its keys, and nobody else waits for it.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(time);

my $dir = tempdir('asked');
my $path = "$dir/socket";

sub netstring { return length($_[0]) . ":$_[0]," }

# A socketmap service, a child a connection. What it answers depends on the key alone.
sub answer {
    my ($request) = @_;
    return netstring('OK found')   if $request =~ /^m (u\d*|x)\@relay\.test$/;
    return netstring('TEMP busy')  if $request =~ /^m temp\@/;
    return 'no netstring'          if $request =~ /^m garbage\@/;
    return ''                      if $request =~ /^m mute\@/;
    return netstring('NOTFOUND ');
}

sub serve {
    my ($listener) = @_;
    my $pid = fork // die;
    return $pid if $pid;
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    $SIG{CHLD} = 'IGNORE';
    alarm 230;
    while (my $c = $listener->accept) {
        next if fork;
        alarm 230;
        my $in = '';
        while (sysread $c, $in, 4096, length $in) {
            syswrite $c, answer($1) while $in =~ s/^\d+:(.*?),//s;
        }
        POSIX::_exit(0);
    }
    POSIX::_exit(0);
}

sub listen_at {
    unlink $path;
    my $l = IO::Socket::UNIX->new(Local => $path, Listen => 10) or die $!;
    chmod 0666, $path;
    return $l;
}

my $listener = listen_at();
my $server = serve($listener);
Gatepost::Kit::adopt($server);
my $gp = Gatepost::Instance->new(main => {
    relay_domains => 'relay.test', relay_transport => 'discard',
    relay_recipient_maps => "socketmap:unix:$path:m",
    virtual_alias_maps => 'pipemap:{regexp:{ {/^alias@/ y} }, inline:{ {y = x@relay.test} }}',
});
$gp->start;

sub rcpt {
    my ($c, $to) = @_;
    $c->cmd('MAIL FROM:<s@client.test>');
    my $code = $c->cmd("RCPT TO:<$to>")->{code};
    $c->cmd('RSET');
    return $code;
}

my $c = $gp->session;
is(rcpt($c, 'u1@relay.test'), 250, 'found');
is(rcpt($c, 'nobody@relay.test'), 550, 'not found');
is(rcpt($c, 'temp@relay.test'), 451, 'the service has a problem');
is(rcpt($c, 'garbage@relay.test'), 451, 'the service speaks garbage');
is(rcpt($c, 'u2@relay.test'), 250, 'and is asked again');
ok($gp->wait_log(qr{table socketmap:unix:\S+: TEMP busy}), 'the reason is logged');

# One that does not answer holds its own session alone.
my $slow = $gp->session;
$slow->cmd('MAIL FROM:<s@client.test>');
$slow->send("RCPT TO:<mute\@relay.test>\r\n");
my $before = time;
is(rcpt($c, "u$_\@relay.test"), 250, "meanwhile $_") for 3 .. 8;
# Which is given up behind 30 s.
ok(time - $before < 25, 'nobody waits for the one that is mute');

# A mail through a table made of others.
is($gp->mail(q(s@client.test), q(alias@relay.test), "Subject: x\r\n\r\nx\r\n")->{code}, 250, q(a mail to an alias of a pipemap));
ok($gp->wait_log(qr{to=<x\@relay\.test>, orig_to=<alias\@relay\.test>}), 'goes where it leads');

# The service goes, and comes back under the same name.
kill 'KILL', $server, Gatepost::Kit::descendants($server);
waitpid $server, 0;
close $listener;
unlink $path;
is(rcpt($c, 'u1@relay.test'), 451, 'the service is gone');
is($slow->reply->{code}, 451, 'who waited for it is told');
$listener = listen_at();
$server = serve($listener);
Gatepost::Kit::adopt($server);
is(rcpt($c, 'u1@relay.test'), 250, 'it is back: found again');
is(rcpt($c, 'nobody@relay.test'), 550, 'and not found again');
$gp->kill_role('smtpd');
$c = $gp->session;
is(rcpt($c, 'u1@relay.test'), 250, 'a new worker asks it too');
$gp->stop;
close $listener;
stop_pid($server);
done_testing;
