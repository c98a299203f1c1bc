#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The kit against itself: what the client sends is what the sink records.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

my $sink = Gatepost::Sink->new(
    on => {
        rcpt => sub { $_[1] =~ /bad/ ? '550 5.1.1 no such user' : undef },
        dot  => sub { $_[1] =~ /^Subject: later/m ? '451 4.3.0 later' : undef },
        noop => sub { { reply => '421 4.0.0 bye', drop => 1 } },
        vrfy => sub { { reply => '252 slow', delay => 0.05 } },
    });
my $c = Gatepost::Smtp->new(port => $sink->port);
ok($c->hello, 'greeting and EHLO');
ok(exists $c->{ehlo}{PIPELINING}, 'keywords are read');

my @shapes = (
    ['empty',            ''],
    ['lone dots',        ".\r\n..\r\n.\r\n"],
    ['dots at the ends', "a: b\r\n\r\n.x\r\ny.\r\n...\r\n"],
    ['no final newline', "a: b\r\n\r\nend", 'bdat'],
    ['bare line feeds',  "a: b\r\n\r\nx\ny\r\n\n.z\r\n"],
    ['8-bit',            join('', map chr, 128 .. 255) . "\r\n"],
    ['2 MB',             scalar(("x" x 998 . "\r\n") x 2100)],
);
for my $shape (@shapes) {
    my ($name, $content, $bdat) = @$shape;
    my $r = $bdat
        ? $c->bdat('a@x.example', 'b@y.example', substr($content, 0, 3), substr($content, 3))
        : $c->mail('a@x.example', 'b@y.example', $content);
    is($r->{code}, 250, "$name: accepted");
    my $m = ($sink->messages)[-1];
    ok($m->{content} eq $content, "$name: the same bytes");
}
is($sink->count, scalar @shapes, 'one record a message');

is($c->mail('a@x', ['bad@y', 'c@y'], "Subject: two\r\n\r\n")->{code}, 250, 'one of two');
is_deeply(($sink->messages)[-1]{rcpts}, ['c@y'], 'a refused recipient is not in the envelope');
is($c->mail('a@x', 'bad@y', "\r\n")->{code}, 550, 'nobody left');
$c->cmd('RSET', 250);
is($c->mail('', 'c@y', "Subject: later\r\n\r\n")->{code}, 451, 'refused after the dot');
is($sink->count, @shapes + 1, 'a refused message is not recorded');

$c->send("MAIL FROM:<p\@x>\r\nRCPT TO:<q\@y>\r\nDATA\r\n");
$c->expect($_) for 250, 250, 354;
$c->send("Subject: pie");
$c->send("ces\r\n\r\n.");
$c->send("\r\n");
$c->expect(250, 'pieces');
like(($sink->messages)[-1]{content}, qr/^Subject: pieces\r\n\r\n\z/, 'pieces are joined');
$c->cmd('VRFY x', 252);
$c->cmd('NOOP', 421);
ok($c->at_eof, 'dropped by the script');

$sink->stop;
ok(!Gatepost::Smtp->new(port => $sink->port, timeout => 1), 'a stopped sink refuses');
$sink->start;
ok(Gatepost::Smtp->new(port => $sink->port)->hello, 'and is there again');

my $lmtp = Gatepost::Sink->new(lmtp => 1, path => tempdir() . '/lmtp',
    on => { lmtpdot => sub { $_[1] =~ /full/ ? '452 4.2.2 full' : undef } });
my $l = Gatepost::Smtp->new(path => $lmtp->{path}, lmtp => 1);
ok($l->hello, 'LHLO');
my @r = $l->mail('a@x', ['one@y', 'full@y'], "Subject: l\r\n\r\n");
is_deeply([map { $_->{code} } @r], [250, 452], 'LMTP: one reply a recipient');
is_deeply(($lmtp->messages)[0]{rcpts}, ['one@y'], 'LMTP: who got it');
done_testing;
