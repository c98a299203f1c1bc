#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Mail of odd shape, with CRLF lines and complete headers, leaves as it came, byte for byte, with
# nothing added but a Received header at the top.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new;
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, message_size_limit => 20_000_000,
    smtp_line_length_limit => 0 });
$gp->start;

my $head = join '', map {"$_\r\n"} 'From: A <a@client.test>', 'To: b@next.test',
    'Date: Sat, 21 Nov 2026 10:00:00 +0000', 'Message-ID: <shape@client.test>';
srand 20261121;
my $noise = join '', map { join('', map { chr(33 + rand 94) } 1 .. 70) . "\r\n" } 1 .. 70000;

# name, header lines after $head, body, [how]
my @shapes = (
    ['plain',                '',                             "hello\r\n"],
    ['empty body',           '',                             ''],
    ['no body at all',       undef,                          ''],
    ['only blank lines',     '',                             "\r\n\r\n\r\n"],
    ['a lone dot',           '',                             ".\r\n"],
    ['dots',                 '',                             "..\r\n...\r\n.x\r\nx.\r\n. \r\n.\r\n"],
    ['a dot at the start',   '',                             ".\r\nafter\r\n"],
    ['dot-like end',         '',                             "x\r\n.\r\n.\r\n"],
    ['8-bit body',           "Subject: 8\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            . "Content-Transfer-Encoding: 8bit\r\n",         "gr\xc3\xbc\xc3\x9fe\r\n" . join('', map chr, 128 .. 255) . "\r\n"],
    ['control characters',   '',                             "\x01\x02\x07\x08\x0b\x0c\x1b\x7f\t\r\n"],
    ['a NUL',                '',                             "a\0b\r\n", 'bdat'],
    ['lines of 998',         '',                             scalar(('y' x 998 . "\r\n") x 3)],
    ['lines of 2046',        '',                             scalar(('z' x 2046 . "\r\n") x 2)],
    ['folded header',        "Subject: one\r\n two\r\n\tthree\r\n  \r\n four\r\n", "x\r\n"],
    ['long folded header',   'References:' . join('', map {"\r\n <ref$_\@client.test>"} 1 .. 400) . "\r\n", "x\r\n"],
    ['header of 998',        'Subject: ' . 's' x 989 . "\r\n", "x\r\n"],
    ['many headers',         join('', map {"X-Number-$_: $_\r\n"} 1 .. 900),   "x\r\n"],
    ['blank before colon',   "X-Odd : blank\r\nX-Empty:\r\nX-Blank: \r\nX-Tight:x\r\n", "x\r\n"],
    ['odd case and order',   "sUbJeCt: case\r\nX-2: b\r\nX-1: a\r\nX-2: c\r\n", "x\r\n"],
    ['trailing blanks',      "Subject: t  \t\r\n",           "a  \r\n \r\n\t\r\n"],
    ['8-bit header',         "Subject: gr\xc3\xbcn\r\n",     "x\r\n"],
    ['encoded words',        "Subject: =?utf-8?q?gr=C3=BCn?=\r\n =?iso-8859-1?b?4Q==?=\r\n", "x\r\n"],
    ['From without mail',    "Comments: >From here\r\n",     "From here\r\n>From there\r\n"],
    ['mime parts',           "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b.1\"\r\n",
        "preamble\r\n--b.1\r\n\r\none\r\n--b.1\r\nContent-Type: text/html\r\n\r\n.\r\n--b.1--\r\nepilogue\r\n"],
    ['journal look-alike',   '',                             join('', map { pack 'N4', $_, 0x47504a31, 1, 2 } 1 .. 2000) =~ tr/\r\n//dr . "\r\n"],
    ['BDAT, no last newline', '',                            'no newline', 'bdat'],
    ['BDAT, one byte chunks', '',                            "abc\r\n.\r\ndef\r\n", 'bytes'],
    ['BDAT, split CRLF',      '',                            "one\r\ntwo\r\n", 'split'],
    ['256 KB',                '',                            substr($noise, 0, 262_080)],
    ['just above 256 KB',     '',                            substr($noise, 0, 264_024)],
    ['5 MB',                  "Subject: big\r\n",            $noise],
    ['5 MB of BDAT',          "Subject: big\r\n",            $noise, 'bdat'],
);

my $c = $gp->session;
my $n = 0;
for my $shape (@shapes) {
    my ($name, $extra, $body, $how) = @$shape;
    my $content = defined $extra ? "$head$extra\r\n$body" : $head;
    my @args = ('a@client.test', "s$n\@next.test");
    my $r;
    if (!$how) {
        $r = $c->mail(@args, $content, mail => 'BODY=8BITMIME');
    } else {
        my $cut = index $content, "\r\n\r\n";
        my @chunks = $how eq 'bytes' ? split(//, $content)
            : $how eq 'split' ? map({ my $t = $_; $t =~ s/\n\z// ? ($t, "\n") : $t } $content =~ /[^\n]*\n|[^\n]+/g)
            : (substr($content, 0, $cut + 3), substr($content, $cut + 3));
        $r = $c->bdat(@args, @chunks);
    }
    $shape->[4] = $r->{code} == 250;
    ok($shape->[4], "$name: accepted") or do {
        diag $r->{text};
        $c = $gp->session;
    };
    $n++;
}
$c->quit;

$sink->wait_messages(scalar(grep { $_->[4] } @shapes), 60);
my %got;
push @{ $got{ $_->{rcpts}[0] } }, $_ for $sink->messages;
$n = 0;
for my $shape (@shapes) {
    my ($name, $extra, $body, $how, $taken) = @$shape;
    my $m = $got{"s$n\@next.test"};
    $n++;
    next if !$taken;
    is(scalar @{ $m // [] }, 1, "$name: arrives once") or next;
    my $content = defined $extra ? "$head$extra\r\n$body" : $head;
    my $is = $m->[0]{content};
    like($is, qr/\AReceived: from [^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*From: A /, "$name: a Received header first");
    $is =~ s/\AReceived: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*//;
    # SMTP without BDAT cannot express a last line without its end; a header section alone ends with
    # the blank line that separates it from an empty body, or does not.
    my @good = ($content);
    push @good, "$content\r\n" if $content !~ /\r\n\z/ || !defined $extra;
    ok(scalar(grep { $is eq $_ } @good), "$name: the same bytes") or difference($content, $is);
}
ok($gp->drained, 'nothing is left in the queue');
$gp->stop;
done_testing;

sub difference {
    my ($want, $is) = @_;
    my $at = 0;
    $at++ while $at < length $want && $at < length $is && substr($want, $at, 1) eq substr($is, $at, 1);
    my $from = $at > 30 ? $at - 30 : 0;
    my @show = map { substr($_, $from, 80) =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger } $want, $is;
    diag 'lengths ' . length($want) . ' and ' . length($is) . ", first difference at $at\nwant: $show[0]\nis:   $show[1]";
}
