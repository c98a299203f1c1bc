#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# cleanup refuses, dies, is away or full; master drains and stops; the client goes away.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Stage;
use Test::More;
use Time::HiRes qw(time);

my $st = Gatepost::Stage->new(main => { smtpd_forbid_unauth_pipelining => 'no' });

sub mail {
    my ($from, %arg) = @_;
    my $c = $st->session;
    my $r = $c->mail("$from\@b.test", 'root', $arg{content} // "x\r\n");
    return ($r, $c);
}

my ($r, $c) = mail('refuse-end');
is($r->{text}, '554 5.4.6 Error: too many hops', 'refused at the end');
$c->cmd('MAIL FROM:<a@b.test>', 250, 'and the next transaction is a new one');
$c->quit;
($r, $c) = mail('refuse-open');
is($r->{text}, '451 4.3.0 Error: refused by script', 'refused at once: told at DATA');
$c->quit;
$c = $st->session;
$c->send("MAIL FROM:<refuse-open\@b.test>\r\nRCPT TO:<root>\r\nBDAT 3 LAST\r\nx\r\n");
$c->expect(250);
$c->expect(250);
is($c->reply->{text}, '451 4.3.0 Error: refused by script', 'by BDAT likewise');
$c->quit;

# Deaths.
$c = $st->session;
$c->cmd('MAIL FROM:<die-early@b.test>', 250);
$c->cmd('RCPT TO:<root>', 250);
$c->cmd('DATA', 354);
$c->send("x\r\n");
# Its successor is there when another session is served.
ok(wait_until(5, sub { $st->session->mail('a@b.test', 'root', "y\r\n")->{code} == 250 }), 'others go on');
$c->send(".\r\n");
$r = $c->reply;
is($r->{text}, '451 4.3.0 Error: queue file write error', 'dies during content: nothing was kept');
is(($c->mail('a@b.test', 'root', "y\r\n"))->{code}, 250, 'the next message finds the new one');
$c->quit;
my $before = $st->letters;
($r, $c) = mail('die-durable');
like($r->{text}, qr/^250 2\.0\.0 Ok: queued as [0-9A-F]+$/, 'Q6: durable by word of another cleanup');
ok($st->letter($c->id_of($r)), 'and it is there');
$c->quit;
my $pace = Gatepost::Pace->new;
my $begin = time;
($r, $c) = mail('die-silent');
is($r->{code}, 0, 'Q6: silence is neither yes nor no');
ok(time - $begin > 4 && $pace->within(7, $begin), 'after 5 seconds');
$st->wait_log(qr/warning: [0-9A-F]+: in doubt: cleanup was lost before it answered/);

# The queue ID comes when the session is over: the log has both in the order of the events.
sub log_of {
    my ($text) = $st->log_text =~ /: (connect from [^\n]*\n(?:(?!.*: connect from ).*\n)*)\z/;
    return [map { s/^.*smtpd\[\d+\]: //r =~ s/\b4F[0-9A-F]{5}\b/ID/r } split /\n/, $text];
}
$c = $st->session;
$c->cmd('MAIL FROM:<late-id@b.test>', 250);
$c->cmd('RCPT TO:<root>', 250);
$c->cmd('RCPT TO:<x@far.test>', 454);
$c->cmd('RSET', 250);
$c->cmd('MAIL FROM:<late-id@b.test>', 250);
$c->cmd('RCPT TO:<root>', 250);
$c->close;
my $client = 'unknown[127.0.0.1]';
$st->wait_log(qr/: disconnect from .* rset=1/);
my $denied = "reject: RCPT from $client: 454 4.7.1 <x\@far.test>: Relay access denied; from=<late-id\@b.test> to=<x\@far.test> proto=ESMTP helo=<client.example>";
is_deeply(log_of(), ["connect from $client", "ID: client=$client", "ID: $denied", "ID: client=$client", "lost connection after RCPT from $client",
    "disconnect from $client ehlo=1 mail=2 rcpt=2/3 rset=1 commands=6/7"], 'a late ID: before the end of the session');
$c = $st->session;
$c->cmd('MAIL FROM:<no-id@b.test>', 250);
$c->cmd('RCPT TO:<root>', 250);
$begin = time;
$c->quit;
$st->wait_log(qr/: disconnect from .* rcpt=1 quit=1/);
cmp_ok(time - $begin, '>', 0.9, 'the log waits for it');
is_deeply(log_of(), ["connect from $client", "disconnect from $client ehlo=1 mail=1 rcpt=1 quit=1 commands=4"], 'but not for ever');
is($st->order('id')->session->mail('a@b.test', 'root', "x\r\n")->{code}, 250, 'others go on');
$st->wait_log(qr/disconnect from .* quit=1 commands=4\n(?:.*\n)*?.*: 4F[0-9A-F]{5}: client=/);

# Away for a while: RCPT waits.
is($st->order('away')->said, 'away', 'cleanup is away');
$c = $st->session;
wait_until(5, sub { $st->session }) ;
$c->cmd('MAIL FROM:<a@b.test>', 250);
$c->send("RCPT TO:<root>\r\n");
select undef, undef, undef, 0.2;
$st->order('back');
$c->expect(250, 'RCPT waits for a cleanup');
$c->cmd('DATA', 354);
$c->send(".\r\n");
$c->expect(250);
$c->quit;

# No space.
$st->order('full');
ok(wait_until(5, sub {
    my $c = $st->session;
    $c->cmd('MAIL FROM:<a@b.test>')->{text} eq '452 4.3.1 Insufficient system storage' }), 'full: 452');
$st->wait_log(qr/NOQUEUE: reject: MAIL from unknown\[127\.0\.0\.1\]: 452 4\.3\.1 Insufficient system storage; from=<a\@b\.test>/);
$st->order('room');
ok(wait_until(5, sub { $st->session->cmd('MAIL FROM:<a@b.test>')->{code} == 250 }), 'room again');
$c = $st->session;
$c->cmd('MAIL FROM:<a@b.test> SIZE=99999', 250, 'what fits');
$c->quit;

# The client goes.
$c = $st->session;
$c->cmd('MAIL FROM:<a@b.test>', 250);
$c->cmd('RCPT TO:<root>', 250);
$c->cmd('DATA', 354);
$c->send('half');
$c->close;
$st->wait_log(qr/: lost connection after DATA \(4 bytes\) from unknown\[127\.0\.0\.1\]$/m);
my $count = () = $st->letters;
$c = $st->session;
$c->send("MAIL FROM:<slow\@b.test>\r\nRCPT TO:<root>\r\nDATA\r\n");
$c->expect($_) for 250, 250, 354;
$c->send("x\r\n.\r\nQUIT\r\n");
shutdown $c->sock, 1;
$c->expect(250, 'a client that has closed its half gets its reply');
$c->expect(221);
# The answer of cleanup and the end of the client's half come in the same moment.
$c = $st->session;
$c->send("MAIL FROM:<stopped\@b.test>\r\nRCPT TO:<root>\r\nDATA\r\n");
$c->expect($_) for 250, 250, 354;
$c->send("x\r\n.\r\nQUIT\r\n");
is($st->said, 'stopped', 'smtpd is stopped');
shutdown $c->sock, 1;
$st->order('go');
$c->expect(250, 'the commit and the end of the half at once');
$c->expect(221, 'what stands behind the content is answered');
$c = $st->session;
$c->send("MAIL FROM:<slow\@b.test>\r\nRCPT TO:<root>\r\nDATA\r\n");
$c->expect($_) for 250, 250, 354;
$c->send("gone\r\n.\r\n");
$c->close;
ok(wait_until(5, sub { my $n = () = $st->letters; $n == $count + 3 }), 'committed mail stays committed');

# Drain: sessions go on till they end; now: between transactions.
my ($idle, $busy) = map { $st->session } 1 .. 2;
$busy->cmd('MAIL FROM:<a@b.test>', 250);
$st->order('drain');
ok(wait_until(5, sub { !$st->client(timeout => 1) }), 'accepts no more');
$idle->cmd('NOOP', 250, 'an idle session goes on');
$st->order('drain now');
like($idle->reply->{text}, qr/^421 4\.3\.2 mx\.example\.test /, 'till it is told to go');
ok($idle->at_eof, 'closed');
$busy->cmd('RCPT TO:<root>', 250, 'a transaction is not cut');
$busy->cmd('DATA', 354);
$busy->send("x\r\n.\r\n");
$busy->expect(250);
like($busy->reply->{text}, qr/^421 4\.3\.2 /, 'the session is, behind it');
is($st->end, 0, 'and the worker ends');

# Stop.
$st = Gatepost::Stage->new;
($idle, $busy) = map { $st->session } 1 .. 2;
$busy->cmd('MAIL FROM:<a@b.test>', 250);
$busy->cmd('RCPT TO:<root>', 250);
$busy->cmd('DATA', 354);
$st->order('stop');
like($idle->reply->{text}, qr/^421 4\.3\.2 /, 'stop: idle sessions hear 421');
is($busy->reply->{code}, 0, 'the others nothing');
is($st->end, 0, 'ended');
done_testing;
