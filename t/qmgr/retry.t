#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# When a message is tried again, how long it lives, who is told, and what a restart keeps of that.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(keywords => [qw(PIPELINING 8BITMIME SIZE DSN CHUNKING DELIVERBY)], on => {
    rcpt => sub {
        my ($s, $arg) = @_;
        return '450 4.2.0 not now' if $arg =~ /^<(?:later|life|keep)/ && !$s->{sink}->is_set('open');
        return '550 5.1.1 nobody' if $arg =~ /^<bad/;
        return;
    } });
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, minimal_backoff_time => '2s', maximal_backoff_time => '2s',
    maximal_queue_lifetime => '7s', bounce_queue_lifetime => '3s', queue_file_delay => '1s',
    smtpd_deliver_by_enable => 'yes' });
$gp->start;
my $pace = Gatepost::Pace->new;

sub mail { my ($rcpt, %arg) = @_; $gp->mail('a@client.test', $rcpt, "Subject: x\r\n\r\n", %arg) }
sub stamp { my ($line) = @_; return $line =~ /^\w+ +\d+ (\d+):(\d+):(\d+) / ? $1 * 3600 + $2 * 60 + $3 : undef }
sub of_day { my ($s, $m, $h) = localtime $_[0]; return $h * 3600 + $m * 60 + $s }

sub seen { my ($rcpt) = @_; return scalar(() = $sink->log =~ /C: RCPT TO:<\Q$rcpt\E>/g) }

# K2, K3: attempts two seconds apart, the end after seven, no attempt behind it; without a sender the
# end is bounce_queue_lifetime's.
my $begin = time;
is(mail('life@next.test')->{code}, 250, 'accepted');
is($gp->mail('by@client.test', 'life1@next.test', "Subject: x\r\n\r\n", mail => 'BY=600;R')->{code}, 250, 'and with more time than it may have');
my $begin0 = time;
is($gp->mail('', 'life0@next.test', "Subject: x\r\n\r\n")->{code}, 250, 'and without a sender');
$gp->wait_log(qr/from=<>, status=expired/, 'that expires', 20);
$gp->wait_log(qr/from=<a\@client\.test>, status=expired, returned to sender/, 'it expires', 20);
$gp->wait_log(qr/from=<by\@client\.test>, status=expired, returned to sender$/, 'no time of its own lets it live longer', 3);
# All of these lines are qmgr's own.
my @ends = map { /from=<(\w?)/ ? $1 : () } $gp->log_lines(qr/from=<(?:a\@client\.test)?>, status=expired/);
is("@ends", ' a', 'the other one was later');
my @end = map { stamp($_) } $gp->log_lines(qr/from=<>, status=expired/), $gp->log_lines(qr/from=<a\@client\.test>, status=expired/);
cmp_ok(($end[0] - of_day($begin0)) % 86400, '>=', 3, 'not before three seconds') or diag "$begin0, @end";
cmp_ok(($end[1] - of_day($begin)) % 86400, '>=', 7, 'not before seven seconds') or diag "$begin, @end";
cmp_ok(seen('life0@next.test'), '<=', 3, 'few attempts without a sender');
my @until = map { seen("$_\@next.test") } qw(life0 life);
my @tries = map { /^(\d+\.\d+) .*C: RCPT TO:<life\@/ ? $1 : () } split /\n/, $sink->log;
cmp_ok(scalar @tries, '>=', 2, 'some attempts') or diag "@tries";
# Whoever delivers has said so before qmgr can know that all is over.
my @of_life = map { /status=(\w+)/ } $gp->log_lines(qr/to=<life\@next\.test>, .*status=deferred|from=<a\@client\.test>, status=expired/);
is($of_life[-1], 'expired', 'none behind the end') or diag "@of_life";
# Two seconds, and up to one more: times are kept in seconds, and nobody goes sooner. One of them may meet
# something else that the machine does.
my @late;
for my $i (1 .. $#tries) {
    my $gap = $tries[$i] - $tries[$i - 1];
    cmp_ok($gap, '>=', 1.99, "attempt $i was not sooner than two seconds");
    push @late, $gap if $gap >= 3.2 * $pace->stretch($tries[$i - 1], $tries[$i]);
}
cmp_ok(scalar @late, '<=', 1, 'and not later than three') or diag "@late";
ok(wait_until(10, sub { grep { $_->{from} eq '' && $_->{content} =~ /life\@next\.test/ } $sink->messages }), 'the sender is told');
my ($notice) = grep { $_->{from} eq '' && $_->{content} =~ /life\@next\.test/ } $sink->messages;
like($notice->{content}, qr/450 4\.2\.0 not now/, 'why');
is(scalar(() = $gp->log_lines(qr/to=<life\@next\.test>, .*status=deferred/)), scalar @tries, 'each is in the log');
ok($gp->drained(10), 'the queue is empty');

# A message that is longer than bounce_size_limit is returned up to there, in whole lines, whether its
# body is in the journal or a file of its own.
for my $lines (2000, 20000) {
    my $body = join '', map { sprintf "%060d\r\n", $_ } 1 .. $lines;
    is($gp->mail("big$lines\@client.test", 'bad@next.test', "Subject: big\r\n\r\n$body")->{code}, 250, "$lines lines");
    ok(wait_until(20, sub { grep { $_->{rcpts}[0] =~ /^big$lines/ } $sink->messages }), 'the sender is told');
    ($notice) = grep { $_->{rcpts}[0] =~ /^big$lines/ } $sink->messages;
    my ($part) = $notice->{content} =~ m{^Content-Type: message/rfc822\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--}ms;
    ok($part, 'with the message') or next;
    like($part, qr/^Subject: big\r$/m, 'its header section');
    my ($returned) = $part =~ /\r\n\r\n(.*)\z/s;
    is($returned, substr($body, 0, length $returned), 'its body from the beginning');
    like($returned, qr/\d{60}(?:\r\n)?\z/, 'whole lines');
    cmp_ok(abs(length($part) - 50000), '<', 100, 'as much as the limit allows');
}

# NOTIFY: one bounce for those who want it, none for NEVER (RFC 3461, 4.1).
my $c = $gp->session;
is($c->cmd('MAIL FROM:<n@client.test>')->{code}, 250, 'MAIL');
is($c->cmd("RCPT TO:<bad1\@next.test> NOTIFY=NEVER")->{code}, 250, 'NEVER');
is($c->cmd("RCPT TO:<bad2\@next.test> NOTIFY=FAILURE")->{code}, 250, 'FAILURE');
is($c->cmd("RCPT TO:<good\@next.test>")->{code}, 250, 'a good one');
$c->cmd('DATA');
$c->send("Subject: n\r\n\r\nhello\r\n.\r\n");
is($c->reply->{code}, 250, 'accepted');
$c->quit;
ok(wait_until(10, sub { grep { $_->{rcpts}[0] eq 'n@client.test' } $sink->messages }), 'a bounce');
($notice) = grep { $_->{rcpts}[0] eq 'n@client.test' } $sink->messages;
like($notice->{content}, qr/Final-Recipient: rfc822; ?bad2\@next\.test/i, 'about the one');
unlike($notice->{content}, qr/Final-Recipient: rfc822; ?bad1\@/i, 'not the other');
ok($gp->drained(10), 'the queue is empty');
is(scalar(grep { $_->{rcpts}[0] eq 'n@client.test' } $sink->messages), 1, 'it is the only one');

# What waits as a file outlives a restart, clean or not, and goes when it can.
$gp->set(maximal_queue_lifetime => '1d')->reload;
mail("keep$_\@next.test") for 1 .. 5;
mail('later@next.test');
ok(wait_until(15, sub { 6 == grep {-f} glob($gp->queue . '/deferred/*/*') }), 'six files wait') or diag $gp->queue_list;
$gp->restart;
ok(wait_until(10, sub { my @l = $gp->queue_list; 6 == @l }), 'all are there after a restart');
$gp->kill_role('qmgr');
ok(wait_until(10, sub { my @l = $gp->queue_list; 6 == @l }), 'and after a death of qmgr');
my ($id) = map { /"queue_id": "(\w+)".*later\@/ ? $1 : () } $gp->queue_list;
is(($gp->tool('gateq', 'hold', $id))[0], 0, 'one is held');
# An attempt that was under way has ended then.
ok(wait_until(10, sub { glob($gp->queue . "/hold/*/$id") }), 'as a file in hold');
$sink->flag('open', 1);
ok(wait_until(20, sub { 5 == grep { $_->{rcpts}[0] =~ /^keep/ } $sink->messages }), 'the others go by themselves');
is(scalar(grep { $_->{rcpts}[0] =~ /^later/ } $sink->messages), 0, 'the held one stays');
$gp->restart;
ok(wait_until(10, sub { join('', $gp->queue_list) =~ /"queue_name": "hold", "queue_id": "$id"/ }), 'over a restart');
is(($gp->tool('gateq', 'release', $id))[0], 0, 'released');
ok(wait_until(10, sub { grep { $_->{rcpts}[0] =~ /^later/ } $sink->messages }), 'it goes at once');
ok($gp->drained(10), 'the queue is empty');
ok(wait_until(10, sub { !grep {-f} glob($gp->queue . '/{deferred,hold,corrupt}/*/*') }), 'no file is left');

# The times of the queue are taken by a reload, too: qmgr is not replaced.
$sink->flag('open', 0);
my $qmgr = join ' ', @{ $gp->roles->{qmgr} };
$gp->set(queue_file_delay => '1h')->reload;
mail('later@next.test');
$gp->wait_log(qr/to=<later\@next\.test>, .*status=deferred/, 'it waits in the journal');
$gp->set(queue_file_delay => '1s')->reload;
mail('later2@next.test');
ok(wait_until(15, sub { 1 <= grep {-f} glob($gp->queue . '/deferred/*/*') }), 'and becomes a file by the new time');
is(join(' ', @{ $gp->roles->{qmgr} }), $qmgr, 'it is the same qmgr');
$sink->flag('open', 1);
ok($gp->drained(20), 'the queue is empty');
$gp->stop;
is_deeply([map { seen("$_\@next.test") } qw(life0 life)], \@until, 'no attempt came behind the end');
is(scalar(grep { $_->{content} =~ /life0\@/ } $sink->messages), 0, 'nobody was told of what has no sender');
done_testing;
