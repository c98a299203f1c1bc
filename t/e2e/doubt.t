#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A delivery whose end nobody saw: whatever dies after the delivery agent, and however soon, the log
# says "in doubt" before the second copy leaves. While the agent lives it keeps its report: nothing is
# in doubt, whoever else dies (Q5).
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;
use Time::HiRes qw(sleep);

# The next hop holds its last reply back while the test says so; "late" is behind all that is done
# meanwhile, and the second that a worker lives on when its master has died.
my $sink = Gatepost::Sink->new(on => {
    dot => sub {
        my $sink = $_[0]{sink};
        my $delay = $sink->is_set('late') ? 30 : $sink->is_set('slow') ? 1 : $sink->is_set('quick') ? 0.1 : return;
        return { reply => '250 2.0.0 Ok', delay => $delay };
    } });
my $gp = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . $sink->port });
$gp->start;

my $n = 0;
for my $case (['smtp-client'], ['qmgr', 'smtp-client'], ['smtp-client', 'qmgr'], ['smtp-client', 'keeper'],
    ['smtp-client', 'master'], ['master'], ['keeper', 'smtp-client', 'master'],
    ['smtp-client', 0.02, 'master'], ['smtp-client', 0.1, 'qmgr', 'master'],
    ['smtp-client', 0.3, 'master'], ['smtp-client', 0.02, 'qmgr', 0.02, 'qmgr']) {
    my $rcpt = 'd' . ++$n . '@next.test';
    my $name = join ' ', @$case;
    $sink->flag('late', 1);
    my $before = $sink->count;
    my $c = $gp->session;
    is($c->mail('a@client.test', $rcpt, "Subject: doubt\r\n\r\n")->{code}, 250, "$name: accepted");
    ok(wait_until(10, sub { $sink->count > $before }), "$name: the next hop has it");
    $sink->flag('late', 0);
    my %pids = %{ $gp->roles };
    for my $step (@$case) {
        if ($step =~ /^[\d.]+$/) { sleep $step; next }
        if ($step eq 'smtp-client') { kill_at_once(@{ $pids{$step} // [] }) }
        else                        { $gp->kill_role($step) }
    }
    $gp->try_start if $name =~ /master/;
    ok(wait_until(10, sub { 2 <= grep { $_->{rcpts}[0] eq $rcpt } $sink->messages }), "$name: sent again")
        or diag join "\n", $gp->queue_list;
    my @doubts = $gp->log_lines(qr/to=<\Q$rcpt\E>: in doubt: /);
    my $copies = grep { $_->{rcpts}[0] eq $rcpt } $sink->messages;
    cmp_ok(scalar @doubts, '>=', $copies - 1, "$name: and the log said so before ($copies copies)");
    ok($gp->drained(20), "$name: the queue is empty");
}

# The report comes before the new qmgr has read the message, or after it.
for my $case (['quick', 'qmgr'], ['quick', 'keeper'], ['slow', 'qmgr'], ['slow', 'keeper'], ['slow', 'qmgr', 'keeper'],
    ['quick', 'smtpd', 'cleanup', 'resolver', 'tally', 'qmgr']) {
    my ($pace, @roles) = @$case;
    my $rcpt = 'l' . ++$n . '@next.test';
    my $name = "@$case";
    $sink->flag($pace, 1);
    my $before = $sink->count;
    is($gp->session->mail('a@client.test', $rcpt, "Subject: kept\r\n\r\n")->{code}, 250, "$name: accepted");
    ok(wait_until(20, sub { $sink->count > $before }), "$name: the next hop has it");
    $gp->kill_role($_) for @roles;
    $sink->flag($pace, 0);
    ok($gp->drained(20), "$name: the queue is empty") or diag join "\n", $gp->queue_list;
    is(scalar(grep { $_->{rcpts}[0] eq $rcpt } $sink->messages), 1, "$name: one copy");
    is(scalar($gp->log_lines(qr/to=<\Q$rcpt\E>: in doubt: /)), 0, "$name: nothing is in doubt");
}
$gp->stop;
done_testing;
