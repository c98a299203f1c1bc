#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# kill -9 of any one process, again and again, under load: no acknowledged message is lost, each is
# delivered, a second copy only where the log said "in doubt" before, and the service is back within
# two seconds. GP_KILLS sets the number of kills (100), GP_SEED the seed.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Ledger;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{GP_KILLS} // 100;
my $seed = $ENV{GP_SEED} // 20261121;
note "seed $seed";
my @roles = split ' ', $ENV{GP_ROLES} // 'master smtpd cleanup qmgr keeper smtp-client resolver tally';

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
my %slow;
my $pace = 60 / 19 / @roles;
for my $n (0 .. $#order) {
    my $role = $order[$n];
    my $until = time + $pace;
    sleep rand $pace / 2;
    my $pid = wait_until(5, sub { $gp->kill_role($role, int rand 4) });
    if (!$pid) { fail("kill $n: no $role is running"); last }
    my $killed = time;
    if ($role eq 'master') {
        my ($status, $out) = $gp->try_start;
        $killed = time;
        if ($status) { fail("kill $n: start after the death of master: $out"); last }
    }
    my $back = wait_until(10, sub { served() });
    my $took = time - $killed;
    push @{ $slow{$role} }, sprintf 'kill %d: %.1f s', $n, $took if !$back || $took > 2;
    last if !$back;
    sleep $until - time if $until > time;
}
for my $role (@roles) {
    is(scalar @{ $slow{$role} // [] }, 0, "$role: service is back within 2 s")
        or diag join ', ', @{ $slow{$role} };
}
$ledger->finish;
ok($gp->drained(60), 'the queue is empty in the end') or diag join "\n", scalar(@{[$gp->queue_list]}) . " left", ($gp->queue_list)[0 .. 3];
$gp->stop;
is_deeply($gp->roles, {}, 'no process is left');
$ledger->verify($gp);
done_testing;

# A new client is greeted and its message accepted, within what is left of the time.
sub served {
    my $c = $gp->client(timeout => 3) or return;
    $c->hello or return;
    my $r = $c->mail('probe@client.test', 'probe@next.test', "Message-ID: <probe\@client.test>\r\n\r\n");
    $c->close;
    return $r->{code} == 250;
}
