#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# kill -9 of any one process, again and again, under load: no acknowledged message is lost, each is
# delivered, a second copy only where the log said "in doubt" before, and the service is back within
# two seconds. GP_KILLS sets the number of kills (100), GP_SEED the seed.
#
# A second copy needs the death of the delivery worker that had the first one: it died with its report,
# killed by itself or with master. Whoever else dies, a living worker keeps its report (Q5); and what
# one death takes along is no more than what may be under way to one destination.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Ledger;
use Gatepost::Pace;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep time);

# default_destination_concurrency_limit, for what the last qmgr handed out and what the one before did.
use constant AT_ONCE => 2 * 20;

my $kills = $ENV{GP_KILLS} // 100;
my $seed = $ENV{GP_SEED} // 20261121;
note "seed $seed";
my @roles = split ' ', $ENV{GP_ROLES} // 'master smtpd cleanup qmgr keeper smtp-client resolver tally';

my $pace = Gatepost::Pace->new;
my $ledger = Gatepost::Ledger->new(seed => $seed);
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $ledger->sink->port, queue_file_delay => '3s' });
$gp->start;
my $roles = $gp->roles;
for my $role (@roles) {
    ok($roles->{$role}, "$role runs") or diag join ' ', sort keys %$roles;
}
@roles = grep { $roles->{$_} } @roles;
$ledger->run($gp, clients => 3);
ok(wait_until(20, sub { $ledger->count('acked') > 20 }), 'mail flows');

# Every role in turn, in an order that the seed decides; master restarts a service that dies more
# often than 20 times a minute only after a while, so no service gets more.
srand $seed;
my @order;
push @order, shuffle @roles while @order < $kills;
$#order = $kills - 1;
my (%slow, @kills, %died_by);
my $rest = 60 / 19 / @roles;
for my $n (0 .. $#order) {
    my $role = $order[$n];
    my $until = time + $rest;
    sleep rand $rest / 2;
    my $workers = [@{ $gp->roles->{'smtp-client'} // [] }];
    my $pid = wait_until(5, sub { $gp->kill_role($role, int rand 4) });
    if (!$pid) { fail("kill $n: no $role is running"); last }
    my $killed = time;
    push @kills, { role => $role, time => $killed, tokens => {} };
    # Those that began while master was looked for, too.
    push @$workers, @{ $gp->roles->{'smtp-client'} // [] } if $role eq 'master';
    $died_by{$_} = $n for $role eq 'master' ? @$workers : $pid;
    if ($role eq 'master') {
        my ($status, $out) = $gp->try_start;
        $killed = time;
        if ($status) { fail("kill $n: start after the death of master: $out"); last }
    }
    my $back = wait_until(10, sub { served() });
    my $took = time - $killed;
    my $limit = $took > 2 ? 2 * $pace->stretch($killed, $killed + $took) : 2;
    note sprintf 'kill %d, %s: %.1f s, %.1f allowed at the pace of the machine', $n, $role, $took, $limit if $took > 2;
    push @{ $slow{$role} }, sprintf 'kill %d: %.1f s', $n, $took if !$back || $took > $limit;
    last if !$back;
    my $left = $until - time;
    sleep $left if $left > 0;
}
for my $role (@roles) {
    is(scalar @{ $slow{$role} // [] }, 0, "$role: service is back within 2 s")
        or diag join ', ', @{ $slow{$role} };
}
$ledger->finish;
ok($gp->drained(60), 'the queue is empty in the end') or diag join "\n", scalar(@{[$gp->queue_list]}) . " left", ($gp->queue_list)[0 .. 3];
$gp->stop;
is_deeply($gp->roles, {}, 'no process is left');
charge($ledger->verify($gp)->{seconds});
done_testing;

# Which kill is to blame for each second copy, and whether it may be.
sub charge {
    my ($seconds) = @_;
    my (%pids, %reasons, %copies, %most);
    for (split /\n/, slurp($gp->{log})) {
        push @{ $pids{$2} }, $1 if /gatepost\/smtp\[(\d+)\]: \w+: to=<([^>]*)>, .* status=sent/;
        $reasons{$1}++ if /: in doubt: (.*); sending again$/;
    }
    for my $s (@$seconds) {
        my @times = @{ $s->{times} };
        pop @times;
        my @sent = @{ $pids{ $s->{rcpt} } // [] };
        pop @sent;
        for my $taken (@times) {
            my $n = first_kill($taken, qr/./);
            if (@sent) {
                # Its worker saw the reply: it is to have died later, with the report. It outlives
                # its master by a second.
                my $by = $died_by{ shift @sent };
                $n = $by if defined $by && $kills[$by]{time} >= $taken - ($kills[$by]{role} eq 'master' ? 2 : 0);
            } else {
                $n = worker_kill($taken);
            }
            if (!defined $n) { fail("second copy to $s->{rcpt} without a death"); next }
            $copies{ $kills[$n]{role} }++;
            $kills[$n]{tokens}{ $s->{token} } = 1;
        }
    }
    for my $kill (@kills) {
        my $n = keys %{ $kill->{tokens} };
        $most{ $kill->{role} } = $n if $n > ($most{ $kill->{role} } // 0);
    }
    for my $role (@roles) {
        my $may = $role =~ /^(?:smtp-client|master)$/ ? AT_ONCE : 0;
        my $times = grep { $_->{role} eq $role } @kills;
        cmp_ok($most{$role} // 0, '<=', $may, sprintf '%s: %d kills, %d second copies, at most %d messages by one kill',
            $role, $times, $copies{$role} // 0, $most{$role} // 0);
    }
    note "in doubt, $_: $reasons{$_}" for sort keys %reasons;
}

sub first_kill {
    my ($time, $roles) = @_;
    my ($n) = grep { $kills[$_]{time} >= $time && $kills[$_]{role} =~ $roles } 0 .. $#kills;
    return $n;
}

# What a worker wrote before its death may come a little later: the kernel still sends it while a sink
# that has much to do takes it.
sub worker_kill {
    my ($time) = @_;
    my $workers = qr/^(?:smtp-client|master)$/;
    return first_kill($time, $workers) // first_kill($time - 2, $workers);
}

# A new client is greeted and its message accepted, within what is left of the time.
sub served {
    my $c = $gp->client(timeout => 3) or return;
    $c->hello or return;
    my $r = $c->mail('probe@client.test', 'probe@next.test', "Message-ID: <probe\@client.test>\r\n\r\n");
    $c->close;
    return $r->{code} == 250;
}
