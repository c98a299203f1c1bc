#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A queue that waited for a next hop drains when that is back. Hand-outs of retries are noted ahead
# of their turn: who dies in the middle leaves some of them in doubt, never more than that, and no
# second copy leaves without a word.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $n = 300;
my $window = 10;
my $sink = Gatepost::Sink->new(on => {
    rcpt => sub { $_[0]{sink}->is_set('open') ? undef : '450 4.2.0 not now' },
    # Slow enough for a stop to come in the middle.
    dot => sub { my $to = $_[0]{rcpts}[0]; { reply => "250 2.0.0 Ok $to", delay => $to =~ /stop/ ? 0.15 : 0.02 } } });
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, queue_file_delay => '1s',
    initial_destination_concurrency => $window, default_destination_concurrency_limit => $window });
$gp->start;

sub fill {
    my ($name, $count) = @_;
    $sink->flag('open', 0);
    my $c = $gp->session;
    my $taken = grep { 250 == $c->mail('a@client.test', "$name$_\@next.test", "Subject: x\r\n\r\n")->{code} } 1 .. $count;
    $c->quit;
    is($taken, $count, "$name: all mail is taken");
    ok(wait_until(40, sub { $count == grep {-f} glob($gp->queue . '/deferred/*/*') }), "$name: all of it waits as files");
    $sink->flag('open', 1);
    is(($gp->tool('gateq', 'flush'))[0], 0, "$name: flushed");
}

sub copies {
    my ($name) = @_;
    my %copies;
    $copies{$_}++ for grep {/^\Q$name\E\d/} map { @{ $_->{rcpts} } } $sink->messages;
    return %copies;
}

fill('calm', $n);
ok($gp->drained(40), 'calm: the queue drains') or diag scalar $gp->queue_list;
my %copies = copies('calm');
is(scalar(keys %copies), $n, 'calm: all of it arrives');
is(scalar(grep { $_ != 1 } values %copies), 0, 'calm: once');
is(scalar(my @l = $gp->log_lines(qr/to=<calm.*in doubt/)), 0, 'calm: nothing in doubt');
ok(wait_until(10, sub { !grep {-f} glob($gp->queue . '/{deferred,hold,corrupt}/*/*') }), 'calm: no file is left');

for my $role ('qmgr', 'keeper', 'smtp-client', 'master') {
    fill($role, 200);
    ok(wait_until(20, sub { my %c = copies($role); 50 < keys %c }), "$role: it drains");
    $gp->kill_role($role);
    $gp->try_start if $role eq 'master';
    ok($gp->drained(40), "$role: the queue drains") or diag scalar $gp->queue_list;
    %copies = copies($role);
    is(scalar(keys %copies), 200, "$role: all of it arrives");
    my %doubts;
    $doubts{$_}++ for map { /to=<([^>]*)>: in doubt/ ? $1 : () } $gp->log_lines(qr/to=<\Q$role\E\d.*in doubt/);
    is(scalar(grep { $copies{$_} > 1 + ($doubts{$_} // 0) } keys %copies), 0, "$role: no second copy in silence");
    # A window that is with the workers, four that are noted ahead.
    cmp_ok(scalar(keys %doubts), '<=', 5 * $window, "$role: few are in doubt");
}

# A clean stop in the middle: nothing is begun any more, replies are waited for. In doubt may only be
# what the sink took long to answer, on a machine that has much else to do. Files of what has arrived
# are no mail.
fill('stop', 200);
ok(wait_until(20, sub { my %c = copies('stop'); 50 < keys %c }), 'stop: it drains');
$gp->restart;
ok($gp->drained(40), 'stop: the queue drains') or diag scalar $gp->queue_list;
%copies = copies('stop');
is(scalar(keys %copies), 200, 'stop: all of it arrives');
my (%came, %took, %doubts);
for my $m ($sink->messages) { $came{$_} //= $m->{came} for @{ $m->{rcpts} } }
for (split /\n/, $sink->log) {
    my ($at, $rcpt) = /^(\S+) \S+ S: 250 2\.0\.0 Ok <(stop[^>]*)>/ or next;
    $took{$rcpt} //= $at - $came{$rcpt};
}
is(scalar(keys %took), 200, 'stop: how long each first reply took is known');
$doubts{$_}++ for map { /to=<([^>]*)>: in doubt/ ? $1 : () } $gp->log_lines(qr/to=<stop.*in doubt/);
is(scalar(grep { $copies{$_} > 1 + ($doubts{$_} // 0) } keys %copies), 0, 'stop: no second copy in silence');
my @known = grep { ($took{$_} // 0) < 0.5 } keys %doubts;
is(scalar @known, 0, 'stop: nothing in doubt whose reply came in time')
    or diag map { sprintf "%s: after %.3f s\n", $_, $took{$_} // 0 } @known;
ok(wait_until(20, sub { !grep {-f} glob($gp->queue . '/{deferred,hold,corrupt}/*/*') }), 'stop: no file is left');
$gp->stop;
done_testing;
