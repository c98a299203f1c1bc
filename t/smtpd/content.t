#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Content as it arrives at cleanup: whatever a client sends behind DATA is one message and ends at
# CRLF.CRLF alone; bare LF by each policy; BDAT; sizes; flags.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Test::More;

my %main = (smtpd_forbid_unauth_pipelining => 'no');
my $st = Gatepost::Stage->new(main => \%main);

# Sends RAW behind DATA and CRLF.CRLF behind it; the letter, when just one came.
sub data {
    my ($st, $name, $raw, %arg) = @_;
    my $before = () = $st->letters;
    my $c = $st->session;
    $c->cmd('MAIL FROM:<' . ($arg{from} // 'a@b.test') . '>', 250, "$name: MAIL");
    $c->cmd('RCPT TO:<root@local.test>', 250, "$name: RCPT");
    $c->cmd('DATA', 354, "$name: DATA");
    my @parts = $arg{parts} ? @{ $arg{parts} } : ("$raw\r\n.\r\n");
    for my $part (@parts) {
        $c->send($part);
        select undef, undef, undef, 0.005 if @parts > 1;
    }
    my $r = $c->reply;
    my $id = $c->id_of($r);
    my $next = $c->cmd('NOOP');
    is($next->{code}, $arg{closes} ? 0 : 250, "$name: the session stands there as it should");
    my $after = () = $st->letters;
    is($after - $before, $id ? 1 : 0, "$name: one message at most");
    return ($r, scalar $st->letter($id), $c);
}

my $inner = "\r\nMAIL FROM:<x\@y>\r\nRCPT TO:<root\@local.test>\r\nDATA\r\nsmuggled";
my @shapes = (
    # name, sent behind DATA (an end follows), kept
    ['LF.LF',         "a\n.\n$inner",           "a\r\n\r\n$inner\r\n"],
    ['LF.CRLF',       "a\n.$inner",             "a\r\n$inner\r\n"],
    ['CRLF.LF',       "a\r\n.\n$inner",         "a\r\n\r\n$inner\r\n"],
    ['CR.CR',         "a\r.\r$inner",           "a . $inner\r\n"],
    ['CR.CRLF',       "a\r.$inner",             "a .$inner\r\n"],
    ['CRLF.CR',       "a\r\n.\rx$inner",        "a\r\n x$inner\r\n"],
    ['CR.LF',         "a\r.\n$inner",           "a .\r\n$inner\r\n"],
    ['CRLF.CRCRLF',   "a\r\n.\r$inner",         "a\r\n $inner\r\n"],
    ['LFCR.CRLF',     "a\n\r.$inner",           "a\r\n .$inner\r\n"],
    ['CRLF NUL.CRLF', "a\r\n\0.$inner",         "a\r\n\0.$inner\r\n"],
    ['CRLF.NUL',      "a\r\n.\0$inner",         "a\r\n\0$inner\r\n"],
    ['U+0085',        "a\xc2\x85.\xc2\x85b",    "a\xc2\x85.\xc2\x85b\r\n"],
);
for my $shape (@shapes) {
    my ($name, $raw, $kept) = @$shape;
    my ($r, $m, $c) = data($st, $name, $raw);
    is($r->{code}, 250, "$name: taken");
    is($m->{content}, $kept, "$name: as one message");
    $c->quit;
}

my @plain = (
    ['empty',       '',                                          "\r\n", ["\r\n.\r\n"]],
    ['nothing',     '',                                          '',     [".\r\n"]],
    ['dots',        "..\r\n...\r\n.a\r\nb.\r\n..",               ".\r\n..\r\na\r\nb.\r\n.\r\n"],
    ['long lines',  'x' x 5000 . "\r\n" . 'y' x 998,             'x' x 5000 . "\r\n" . 'y' x 998 . "\r\n"],
    ['split dots',  '', "a\r\n.\r\n", ["a\r\n", '.', '.', "\r", "\n.", "\r", "\n"]],
    ['split CR LF', '', "a\r\nb\r\n", ["a\r", "\nb", "\r\n.\r", "\n"]],
);
for my $row (@plain) {
    my ($name, $raw, $kept, $parts) = @$row;
    my ($r, $m, $c) = data($st, $name, $raw, $parts ? (parts => $parts) : ());
    is($m->{content}, $kept, "$name: content");
    $c->quit;
}
is((data($st, 'dot line', "..a"))[1]{observed}, 1, 'a line that begins with a dot is told');
is((data($st, '8-bit', "\xe4"))[1]{observed}, 2, '8-bit is told');
is((data($st, 'slow', 'z' x 90_000, from => 'slow@b.test'))[1]{content}, 'z' x 90_000 . "\r\n",
    'content waits for credit');

# Sizes.
my ($r, $m, $c) = data($st, 'too large', '' . ("x" x 98 . "\r\n") x 1001);
is($r->{text}, '552 5.3.4 Error: message file too big', 'too large');
ok(!$m, 'and gone');
# All of it can be here before the id is.
$st->wait_log(qr/warning: (?:[0-9A-F]+|NOQUEUE): queue file size limit exceeded$/m);
($r, $m) = data($st, 'just fits', ("x" x 98 . "\r\n") x 999 . 'x' x 98);
is(length $m->{content}, 100_000, 'just fits');

# A smaller limit for strangers.
{
    my $small = Gatepost::Stage->new(main => { %main, incoming_message_size_limit => 1000 });
    for my $row (['127.0.0.1', 552], ['127.0.0.9', 250]) {
        my ($from, $want) = @$row;
        my $c = Gatepost::Smtp->new(port => $small->port, from => $from);
        $c->hello;
        $c->cmd('MAIL FROM:<a@b.test> SIZE=1001', $want, "$from: SIZE");
        $c->cmd('RSET', 250);
        is($c->mail('a@b.test', 'root@local.test', 'x' x 1200 . "\r\n")->{code}, $want, "$from: content");
        $c->quit;
    }
    is((data($small, 'small', 'x' x 500))[0]{code}, 250, 'what is within it passes');
    $small->order('stop')->end;
}

# BDAT.
my @bdat = (
    ['no final newline', ["a\r\nb"],                      "a\r\nb\r\n"],
    ['chunks',           ["a\r", "\nb\r\n.\r\n", "c"],    "a\r\nb\r\n.\r\nc\r\n"],
    ['bare LF',          ["a\nb\n"],                      "a\r\nb\r\n"],
    ['stray CR',         ["a\rb\r"],                      "a b \r\n"],
    ['dots stay',        [".\r\n..\r\n"],                 ".\r\n..\r\n"],
    ['tiny',             [split //, "a\r\n.\r\n" x 100],  "a\r\n.\r\n" x 100],
    ['commands inside',  ["a\r\n.\r\nQUIT\r\n"],          "a\r\n.\r\nQUIT\r\n"],
);
for my $row (@bdat) {
    my ($name, $chunks, $kept) = @$row;
    my $c = $st->session;
    my $r = $c->bdat('a@b.test', 'root@local.test', @$chunks);
    like($r->{text}, qr/^250 2\.0\.0 Ok: \d+ bytes queued as/, "BDAT $name");
    is($st->letter($c->id_of($r))->{content}, $kept, "BDAT $name: content");
    $c->quit;
}
# All in one packet.
$c = $st->session;
$c->send("MAIL FROM:<a\@b.test>\r\nRCPT TO:<root>\r\nBDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\nQUIT\r\n");
$c->expect($_) for 250, 250, 250;
is($st->letter($c->id_of($c->expect(250)))->{content}, "a\r\nb\r\n", 'BDAT pipelined');
$c->expect(221);

$c = $st->session;
$c->cmd('MAIL FROM:<a@b.test>', 250);
$c->cmd('RCPT TO:<root>', 250);
$c->send("BDAT 200000\r\n" . 'x' x 200_000);
is($c->reply->{text}, '552 5.3.4 Chunk exceeds message size limit', 'a chunk over the limit');
$c->send("BDAT 2 LAST\r\n\r\n");
is($c->reply->{text}, '551 5.0.0 Discarded 2 bytes after earlier error', 'the next one too');
$c->cmd('MAIL FROM:<a@b.test>', 250, 'and a new transaction begins');
$c->quit;
$st->order('stop')->end;

# Bare LF refused.
$st = Gatepost::Stage->new(main => { %main, smtpd_forbid_bare_newline => 'reject' });
($r, $m) = data($st, 'reject', "a\nb", closes => 1);
is($r->{text}, '550 5.5.2 mx.example.test Error: bare <LF> received', 'bare LF in content refused');
ok($st->dialogue('reject', "NOOP\n" => '550 5.5.2 mx.example.test Error: bare <LF> received')->at_eof,
    'in a command too');
($r, $m) = data($st, 'reject: good', 'a');
is($m->{content}, "a\r\n", 'good content is taken');
$st->order('stop')->end;

$st = Gatepost::Stage->new(
    main => { %main, smtpd_forbid_bare_newline => 'reject', mynetworks => '127.0.0.0/8' });
($r, $m) = data($st, 'excluded', "a\nb");
is($m->{content}, "a\r\nb\r\n", 'an excluded client may');
$st->order('stop')->end;

$st = Gatepost::Stage->new(main => { %main, smtpd_forbid_bare_newline => 'note',
    cleanup_replace_stray_cr_lf => 'no' });
($r, $m, $c) = data($st, 'note', "a\nb\rc");
is($m->{content}, "a\r\nb\rc\r\n", 'noted; a stray CR stays when told so');
$c->quit;
$st->wait_log(qr/disconnect from unknown\[127\.0\.0\.1\] .* commands=\d+ notes=bare_lf$/m);
done_testing;
