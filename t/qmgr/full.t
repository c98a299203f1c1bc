#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# More mail than the active queue takes: messages that fail wait for notices that come by the same
# journal, deferred ones come back among new ones, and qmgr dies in between. All goes on.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(on => {
    rcpt => sub {
        my ($s, $arg) = @_;
        return '550 5.1.1 no' if $arg =~ /^<bad/;
        return '450 4.2.0 later' if $arg =~ /^<later/ && !$s->{sink}->is_set('open');
        return;
    } });
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, minimal_backoff_time => '1s', maximal_backoff_time => '1s',
    queue_file_delay => '1s', qmgr_message_active_limit => 5, qmgr_message_recipient_limit => 8 });
$gp->start;
my $n = 40;
my $c = $gp->session;
my $taken = 0;
for my $i (1 .. $n) {
    $taken += 250 == $c->mail("s$i\@client.test", $_, "Subject: x\r\n\r\nhello\r\n")->{code}
        for "bad$i\@next.test", "later$i\@next.test", ["g$i\@next.test", "h$i\@next.test", "bad$i\@next.test"];
}
my $many = 60;
$taken += 250 == $c->mail('big@client.test', [map {"many$_\@next.test"} 1 .. $many], "Subject: x\r\n\r\nhello\r\n")->{code};
$c->quit;
is($taken, 3 * $n + 1, 'all mail is taken');
sub bounces { scalar grep { $_->{from} eq '' } $sink->messages }
ok(wait_until(40, sub { bounces() >= 2 * $n }), 'all bounces come') or diag bounces();
ok(wait_until(20, sub { $n == (my @l = $gp->queue_list) }), 'what is deferred waits');
$gp->kill_role('qmgr');
$sink->flag('open', 1);
ok($gp->drained(40), 'the queue drains') or diag $gp->queue_list;
my %copies;
$copies{$_}++ for map { @{ $_->{rcpts} } } grep { $_->{from} ne '' } $sink->messages;
is(scalar(grep {/^later/} keys %copies), $n, 'the deferred ones arrive');
is(scalar(grep {/^[gh]\d/} keys %copies), 2 * $n, 'so did the good ones');
my $doubts = () = $gp->log_lines(qr/in doubt/);
cmp_ok(scalar(grep { $_ > 1 } values %copies), '<=', $doubts, 'no second copy in silence');
is(bounces(), 2 * $n, 'each sender was told once');
# One message with more recipients than there is room for goes in parts (qmgr_message_recipient_minimum).
is(scalar(grep {/^many/} keys %copies), $many, 'the one with many recipients arrives');
is(scalar(grep { $_->{from} eq 'big@client.test' && @{ $_->{rcpts} } > 10 } $sink->messages), 0, 'some of them at a time');
$gp->stop;
done_testing;
