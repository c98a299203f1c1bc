#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A list shows mail that is above qmgr_message_active_limit, too: it still stands in the journal, and
# qmgr has not had room for it. With long ids, which qmgr knows by keys.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(on => {
    mail => sub { my ($s) = @_; wait_until(60, sub { $s->{sink}->is_set('open') }); return } });
my $gp = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . $sink->port,
    qmgr_message_active_limit => 3, qmgr_message_recipient_limit => 4, queue_file_delay => '1h',
    enable_long_queue_ids => 'yes' });
$gp->start;
my $n = 30;
my $c = $gp->session;
my @id = map { ($c->mail("s$_\@client.test", "r$_\@next.test", "Subject: $_\r\n\r\nhello\r\n")->{text} =~ /queued as (\S+)/)[0] } 1 .. $n;
$c->quit;
is(scalar(grep {defined} @id), $n, 'all mail is taken');
my %listed;
# A list knows a message a moment behind the 250.
wait_until(10, sub { %listed = map { /"queue_id": "(\w+)"/ ? ($1 => 1) : () } $gp->queue_list; $n == keys %listed });
is_deeply([sort keys %listed], [sort @id], 'each message is listed');
my ($status, $out) = $gp->tool('gateq', 'delete', $id[-1]);
is($status, 0, 'one that was not active is deleted') or diag $out;
$sink->flag('open', 1);
ok($gp->drained(60), 'the queue drains');
my %copies;
$copies{$_}++ for map { @{ $_->{rcpts} } } $sink->messages;
is_deeply(\%copies, { map { ("r$_\@next.test" => 1) } 1 .. $n - 1 }, 'each other one arrives once');
$gp->stop;
done_testing;
