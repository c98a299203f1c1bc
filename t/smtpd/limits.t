#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What a client may do, how often and how long: errors, junk, recipients, lines, time, connections,
# talking out of turn; many slow ones at once.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Stage;
use IO::Select;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $pace = Gatepost::Pace->new;
my $st = Gatepost::Stage->new(main => {
    smtpd_soft_error_limit => 3, smtpd_hard_error_limit => 5, smtpd_error_sleep_time => '1s',
    smtpd_junk_command_limit => 3, smtpd_rset_limit => 2,
});
my $c = $st->session;
my $begin = time;

# Since $begin, as time goes for programs on this machine.
sub soon { $pace->within($_[0], $begin) }

$c->cmd('FOO', 500) for 1 .. 2;
ok(soon(0.8), 'the first errors are answered at once');
$begin = time;
$c->cmd('FOO', 500, 'the third');
ok(time - $begin > 0.9, 'then slowly');
$c->cmd('NOOP', 250);
ok(time - $begin > 1.9, 'good commands too');
$c->cmd('FOO', 500);
$c->cmd('FOO', 500);
is($c->reply->{text}, '421 4.7.0 mx.example.test Error: too many errors', 'the end');
ok($c->at_eof, 'closed');
$st->wait_log(qr/: too many errors after UNKNOWN from unknown\[127\.0\.0\.1\]$/m);

$c = $st->session;
$c->cmd('NOOP', 250) for 1 .. 6;
$c->send("NOOP\r\nNOOP\r\n");
like(join("\n", map { $c->reply->{text} } 1 .. 3), qr/too many errors|synchronization/, 'junk commands count at last');

$c = $st->session;
$c->cmd('RSET', 250) for 1 .. 2;
$c->cmd('RSET', 421, 'RSET limit');
ok($c->at_eof, 'closed');
$st->order('stop')->end;

# Out of turn.
$st = Gatepost::Stage->new(main => { smtpd_recipient_limit => 2 });
for my $row (
    ['EHLO x', "EHLO x\r\nMAIL FROM:<a\@b>\r\n", 1],
    ['DATA', "MAIL FROM:<a\@b>\r\nRCPT TO:<root>\r\nDATA\r\nSubject: x\r\n", 3],
    ['NOOP', "NOOP\r\nNOOP\r\n", 1],
) {
    my ($name, $bytes, $replies) = @$row;
    my $c = $st->session;
    $c->send($bytes);
    my $r;
    $r = $c->reply for 1 .. $replies;
    is($r->{text}, '554 5.5.0 Error: SMTP protocol synchronization', "out of turn behind $name");
    ok($c->at_eof, 'closed');
}
$st->wait_log(qr/improper command pipelining after DATA from unknown\[127\.0\.0\.1\]: Subject: x\\r\\n$/m);
$c = $st->client;
$c->expect(220);
$c->cmd('HELO x', 250);
$c->send("MAIL FROM:<a\@b>\r\nRCPT TO:<root>\r\n");
$c->expect(554, 'no pipelining behind HELO');
$c = $st->session;
$c->send("MAIL FROM:<a\@b>\r\n" . "RCPT TO:<root>\r\n" x 4 . "DATA\r\n");
$c->expect($_) for 250, 250, 250, 452, 452, 354;
$c->send(".\r\n");
is(scalar @{ $st->letter($c->id_of($c->expect(250)))->{rcpt} }, 2, 'recipients within the limit got it');
$c->quit;

# Lines.
for my $row (['x' x 3000], ['MAIL FROM:<' . 'a' x 3000 . '@b>'], ['EHLO ' . 'x' x 100_000]) {
    my $c = $st->session;
    $c->send("$row->[0]\r\n");
    is($c->reply->{text}, '500 5.5.2 Error: line too long', 'too long: ' . length $row->[0]);
    $c->cmd('NOOP', 250);
    $c->cmd('QUIT', 221);
}
$c = $st->session;
for (1 .. 100) { last if !$c->send('x' x 65536) }
like($c->reply->{text}, qr/^500 5\.5\.2|^closed/, 'an endless line ends the session');
ok($c->at_eof, 'it does');
$c = $st->session(helo => 'n' x 1500);
is(length $st->letter($c->id_of($c->mail('a@b', 'root', "x\r\n")))->{helo}, 255, 'a long name is cut');
$c->quit;
$st->wait_log(qr/warning: unknown\[127\.0\.0\.1\]: request longer than 2048: x{30}\.\.\.$/m);

# Garbage: no byte stream harms the others.
srand 42;
for my $n (1 .. 30) {
    my $c = $st->client;
    $c->send(join '', map { chr int rand 256 } 1 .. 2000 * $n);
    $c->close;
}
ok($st->session, 'still there after garbage');
$st->order('stop')->end;

# Time.
$st = Gatepost::Stage->new(
    main => { smtpd_timeout => '5s', smtpd_min_data_rate => 1000, smtpd_helo_required => 'yes' });
my ($slow, $half, $drip, $content) = map { $st->client } 1 .. 4;
$_->expect(220) for $slow, $half, $drip, $content;
$half->send('NOO');
$content->cmd('MAIL FROM:<a@b.test>', '503', 'EHLO wanted');
$content->cmd('EHLO x', 250);
$content->cmd('MAIL FROM:<a@b.test>', 250);
$content->cmd('RCPT TO:<root>', 250);
$content->cmd('DATA', 354);
$begin = time;
# A byte now and then buys no time.
while (time - $begin < 30) {
    select undef, undef, undef, 0.3;
    last if IO::Select->new($drip->sock)->can_read(0) && IO::Select->new($content->sock)->can_read(0);
    $drip->send('N');
    $content->send("x\r\n");
}
ok(soon(7), 'drops of a command or of content do not keep a session');
is($_->reply->{text}, '421 4.4.2 mx.example.test Error: timeout exceeded', 'timeout')
    for $slow, $half, $drip, $content;
$st->wait_log(qr/: timeout after CONNECT from unknown\[127\.0\.0\.1\]$/m);
$st->wait_log(qr/: timeout after DATA \(\d+ bytes\) from unknown\[127\.0\.0\.1\]$/m);
$st->order('stop')->end;

# A full port.
$st = Gatepost::Stage->new(limit => 3);
my @c = map { $st->session } 1 .. 3;
$c = $st->client;
is($c->reply->{text}, '421 4.3.2 mx.example.test All server ports are busy', 'one over: 421');
ok($c->at_eof, 'closed');
$c[0]->quit;
ok(wait_until(5, sub { my $c = $st->client; $c->reply->{code} == 220 }), 'room again');
$st->order('stop')->end;

# Floods of recipients from many at once: more than the way to cleanup holds, and nothing is lost.
$st = Gatepost::Stage->new(
    main => { smtpd_recipient_limit => 1000, mynetworks => '127.0.0.0/8' });
my @flood = map { $st->session } 1 .. 200;
my $rcpt = 'RCPT TO:<' . 'r' x 220 . "\@far.test>\r\n";
my ($worker) = children_of($st->{pid});
kill 'STOP', $worker;
$_->send("MAIL FROM:<a\@b.test>\r\n" . $rcpt x 300) for @flood;
kill 'CONT', $worker;
my $bad = 0;
for my $c (@flood) { $bad += $c->reply->{code} != 250 for 0 .. 300 }
is($bad, 0, '60,000 recipients at once');
$_->cmd('DATA') && $_->send(".\r\n") for @flood;
my @got = map { scalar @{ ($st->letter($_->id_of($_->reply)) // { rcpt => [] })->{rcpt} } } @flood;
is_deeply([grep { $_ != 300 } @got], [], 'each message has its own');
$st->order('stop')->end;

# More replies than go out at once: all come, whether the client reads meanwhile or not, also when it
# has closed its half.
$st = Gatepost::Stage->new(main => { smtpd_recipient_limit => 100_000, smtpd_timeout => '10s',
    smtpd_hard_error_limit => 100_000, smtpd_soft_error_limit => 100_000 });
for my $row (['RCPT TO:<root>', 250, 40_000], ['X', 500, 5000]) {
    my ($line, $code, $n) = @$row;
    my $c = $st->session;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        $c->send("MAIL FROM:<a\@b.test>\r\n" . "$line\r\n" x $n . "QUIT\r\n");
        shutdown $c->sock, 1;
        POSIX::_exit(0);
    }
    select undef, undef, undef, 0.3;
    $c->expect(250);
    my $good = 0;
    $good += $c->reply->{code} == $code for 1 .. $n;
    is($good, $n, "$n times $line without a pause");
    $c->expect(221);
    waitpid $pid, 0;
}
$st->order('stop')->end;

# Two thousand with half a message each.
SKIP: {
    my $files = `sh -c 'ulimit -n'`;
    $st = Gatepost::Stage->new(limit => 5000);
    my @slow;
    $begin = time;
    for (1 .. 2000) {
        my $c = $st->client or last;
        push @slow, $c;
    }
    is(scalar @slow, 2000, 'two thousand clients') or diag("ulimit -n: $files");
    $_->reply for @slow;
    $_->send("EHLO x\r\n") for @slow;
    $_->reply for @slow;
    $_->send("MAIL FROM:<a\@b.test>\r\nRCPT TO:<root>\r\nDATA\r\n") for @slow;
    $bad = 0;
    for my $c (@slow) { $bad++ for grep { $_ == 0 || $_ >= 400 } map { $c->reply->{code} } 1 .. 3 }
    is($bad, 0, 'all of them in DATA');
    $_->send("Subject: half\r\n\r\nhalf a line") for @slow;
    $begin = time;
    $c = $st->session;
    is($c->mail('a@b.test', 'root', "x\r\n")->{code}, 250, 'another one is served');
    ok(soon(2), 'at once');
    my ($pid) = children_of($st->{pid});
    my ($pss) = slurp("/proc/$pid/smaps_rollup") =~ /^Pss:\s+(\d+)/m;
    cmp_ok($pss // 0, '<', 2000 * 16 + 8000, 'in little memory') ;
    diag("PSS with 2000 half messages: $pss KB") if defined $pss;
    $_->send("\r\n.\r\n") for @slow[0 .. 99];
    $bad = grep { $_->reply->{code} != 250 } @slow[0 .. 99];
    is($bad, 0, 'and who finishes is served too');
}
done_testing;
