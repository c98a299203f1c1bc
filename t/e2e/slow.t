#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# 2,000 clients that each stop in the middle of a message, and others that send garbage or endless
# lines: everybody else is served as usual, and memory does not grow with what they sent.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);

raise_files();
my $n = $ENV{GP_SLOW} // 2000;
my $sink = Gatepost::Sink->new;
my $port = free_port();
my $gp = Gatepost::Instance->new(
    port => $port, main => { relayhost => '[127.0.0.1]:' . $sink->port, default_process_limit => 4000 });
$gp->start;

my $half = "EHLO slow.example\r\nMAIL FROM:<a\@client.test>\r\nRCPT TO:<b\@next.test>\r\nDATA\r\n"
    . "Subject: never finished\r\n\r\n" . ('x' x 70 . "\r\n") x 20 . 'half a li';
my @slow;
my $refused = 0;
while (@slow < $n) {
    my @new = grep {defined} map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) } 1 .. 50;
    last if @new < 50;
    for my $s (@new) { (<$s> // '') =~ /^220/ or $refused++ }
    syswrite $_, $half for @new;
    push @slow, @new;
}
is(scalar @slow, $n, "$n clients are connected");
is($refused, 0, 'all were greeted');

my $pace = Gatepost::Pace->new;
my @late;
my $served = 0;
for my $i (1 .. 20) {
    my $t = time;
    my $r = $gp->mail('a@client.test', "fast$i\@next.test", "Subject: fast\r\n\r\n");
    $served++ if $r->{code} == 250;
    push @late, time - $t if !$pace->within(5, $t);
}
is($served, 20, 'others are served');
is("@late", '', 'without delay');
is(scalar(() = $sink->wait_messages(20)), 20, 'and their mail arrives');

# Bad input in single sessions.
my @bad = (
    ['an endless line',     'x' x 3_000_000],
    ['an endless command',  'MAIL FROM:<' . 'a' x 500_000 . ">\r\n"],
    ['garbage',             join('', map { chr(int rand 256) } 1 .. 20000) . "\r\n"],
    ['a NUL flood',         "\0" x 100_000 . "\r\n"],
    ['100,000 NOOPs',       "NOOP\r\n" x 100_000],
    ['a bad chunk size',    "BDAT 99999999999999999999 LAST\r\n"],
    ['HTTP',                "GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ['a bare LF end',       "EHLO x\r\nMAIL FROM:<a\@x.test>\r\nRCPT TO:<smuggled\@next.test>\r\nDATA\r\nSubject: a\r\n\r\n"
            . "x\n.\nMAIL FROM:<evil\@x.test>\r\nRCPT TO:<smuggled\@next.test>\r\nDATA\r\nSubject: b\r\n\r\nx\n.\r\nQUIT\r\n"],
);
for my $case (@bad) {
    my ($name, $bytes) = @$case;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or next;
    $s->blocking(0);
    local $SIG{PIPE} = 'IGNORE';
    my ($at, $got) = (0, '');
    my $end = time + 10;
    my $idle = time + 1;
    while (time < $end && time < $idle) {
        my ($r, $w) = ('', '');
        vec($r, fileno $s, 1) = 1;
        vec($w, fileno $s, 1) = 1 if $at < length $bytes;
        select $r, $w, undef, 0.1;
        if (vec $r, fileno $s, 1) {
            my $k = sysread $s, $got, 65536, length $got;
            last if defined $k && !$k || !defined $k && !$!{EAGAIN};
            $idle = time + 1;
        }
        if ($at < length $bytes && vec $w, fileno $s, 1) {
            my $k = syswrite $s, $bytes, 65536, $at;
            last if !defined $k && !$!{EAGAIN};
            if ($k) { $at += $k; $idle = time + 1 }
        }
    }
    close $s;
    ok($gp->session(3), "$name: service goes on");
    unlike($got, qr/^250 .*queued as/m, "$name: nothing was taken for a message") if $name ne 'a bare LF end';
}
is(scalar(grep { $_->{from} =~ /evil/ } $sink->messages), 0, 'a bare LF does not end a message');
my $smtpd = $gp->roles->{smtpd} // [];
my $kb = 0;
for my $pid (@$smtpd) { $kb += $1 if (slurp("/proc/$pid/smaps_rollup") // '') =~ /^Pss:\s+(\d+)/m }
cmp_ok($kb, '<', 120_000, "smtpd uses $kb KB for all of them");

close $_ for @slow;
ok(wait_until(10, sub { $gp->mail('a@client.test', 'last@next.test', "Subject: last\r\n\r\n")->{code} == 250 }),
    'afterwards all is as before');
ok($gp->drained(20), 'nothing is left');
is(scalar(grep { $_->{content} =~ /never finished/ } $sink->messages), 0, 'no half message was delivered');
$gp->stop;
done_testing;
