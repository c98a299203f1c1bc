#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gateq on the queue itself while the system is down, what it shows of a message's history, who may
# do what, and the links by Postfix's names.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

plan skip_all => 'needs root' if $> != 0;
my $sink = Gatepost::Sink->new;
$sink->stop;
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, minimal_backoff_time => '1h', maximal_backoff_time => '1h',
    queue_file_delay => '1s' });
$gp->start;
my @id;
for my $n (1 .. 5) {
    my $body = $n == 5 ? "0123456789abcdef\r\n" x 20000 : "hello\r\n";
    my $r = $gp->mail("s$n\@client.test", "r$n\@next.test", "Subject: m$n\r\n\r\n$body");
    push @id, $r->{text} =~ /queued as (\w+)/;
}
is(scalar @id, 5, 'five messages');
sub queues { my %q; /"queue_name": "(\w+)", "queue_id": "(\w+)"/ and $q{$2} = $1 for $gp->queue_list; return \%q }
ok(wait_until(10, sub { my $q = queues(); 5 == grep { $_ eq 'deferred' } values %$q }), 'all are deferred');
ok(wait_until(10, sub { 5 <= grep {-f} glob($gp->queue . '/deferred/*/*[0-9A-F]') }), 'and files');

my ($status, $out) = $gp->tool('gateq', 'show', $id[0]);
is($status, 0, 'show');
like($out, qr/^history:\n.*  handed out  recipient 0\n(?s:.*)  deferred  recipient 0  4\.4\.1  connect to .*\n(?s:.*)  moved\n/m, 'history')
    or diag $out;
my @nobody = ('su', '-s', '/bin/sh', 'nobody', '-c');
my $gateq = build() . '/sbin/gateq -c ' . $gp->dir;
SKIP: {
    chmod 0755, $gp->dir;
    ($status, $out) = run_out(@nobody, "$gateq list");
    skip 'another user cannot reach the build directory', 3 if $status == 126 || $status == 127;
    is($status, 0, 'anybody may list');
    ($status, $out) = run_out(@nobody, "$gateq delete $id[0]");
    is($status, 1, 'only root may delete');
    like($out, qr/not allowed/, 'it says so');
}

$gp->stop;
is_deeply(queues(), { map { $_ => 'deferred' } @id }, 'the same list while all is down');
is(($gp->tool('gateq', 'hold', $id[1]))[0], 0, 'hold');
($status, $out) = $gp->tool('postsuper', '-d', $id[2], '-d', 'ABCDEF12345');
is($status, 0, 'postsuper -d');
is($out, "postsuper: Deleted: 1 message\n", 'its words');
($status, $out) = $gp->tool('postsuper', '-d', 'xx!', '-f', 'ABCDEF12345');
is($status, 0, 'postsuper -d of what is no id');
is($out, "postsuper: warning: invalid mail queue id: xx!\npostsuper: Deleted: 0 messages\n"
        . "postsuper: Force-expired: 0 messages\npostsuper: Released from hold: 0 messages\n", 'the words of Postfix');
if ($> == 0) {
    $gp->set(qmgr_owner => 'gp-nobody-has-this');
    ($status, $out) = $gp->tool('gateq', 'list');
    is($status, 1, 'without its user');
    like($out, qr/the user gp-nobody-has-this or the group \S+ is missing/, 'root is told the truth');
    $gp->set(qmgr_owner => 'gp-qmgr');
}
is_deeply(queues(), { $id[0] => 'deferred', $id[1] => 'hold', $id[3] => 'deferred', $id[4] => 'deferred' }, 'that is what is left');
($status, $out) = $gp->tool('postcat', '-q', $id[4]);
is($status, 0, 'postcat -q of a large one');
like($out, qr/\A\*\*\* ENVELOPE RECORDS deferred\/..\/$id[4] \*\*\*\n(?:.*\n)*sender: s5\@client\.test\n(?:.*\n)*recipient: r5\@next\.test\n\*\*\* MESSAGE CONTENTS/,
    'its envelope');
like($out, qr/^Subject: m5\n(?:[\w-]+: .*\n)*\n(?:0123456789abcdef\n){20000}\*\*\* HEADER EXTRACTED/m, 'its content');
($status, $out) = $gp->tool('postcat', '-bq', $id[0]);
is($out, "\nhello\n", 'postcat -b');
($status, $out) = $gp->tool('gateq', 'show', $id[3]);
like($out, qr/^history:\n(?s:.*)  moved\n/m, 'history from the file');
is(($gp->tool('gateq', 'flush'))[0], 1, 'nothing can be sent now');
is(($gp->tool('postqueue', '-x'))[0], 64, 'postqueue: usage');
is(($gp->tool('gateq', 'delete'))[0], 1, 'delete wants to be told what');
SKIP: {
    ($status, $out) = run_out(@nobody, build() . '/sbin/postqueue -c ' . $gp->dir . ' -p');
    skip 'another user cannot reach the build directory', 1 if $status == 126 || $status == 127;
    is($status, 69, 'postqueue for others while it is down') or diag $out;
}

# The start finds what was done.
$sink->start;
$gp->start;
is_deeply([sort keys %{ queues() }], [sort @id[0, 1, 3, 4]], 'the same after the start');
is(($gp->tool('postqueue', '-i', $id[3]))[0], 0, 'postqueue -i');
ok(wait_until(10, sub { grep { $_->{rcpts}[0] eq 'r4@next.test' } $sink->messages }), 'that one goes');
is(scalar(() = $sink->messages), 1, 'alone');
is(($gp->tool('postsuper', '-r', 'ALL'))[0], 0, 'postsuper -r ALL');
ok($gp->drained, 'the queue is empty');
is_deeply([sort map { $_->{rcpts}[0] } $sink->messages], [map {"r$_\@next.test"} 1, 2, 4, 5], 'and all have arrived');
is(scalar(() = $gp->log_lines(qr/in doubt/)), 0, 'nothing was in doubt');
$gp->stop;
done_testing;
