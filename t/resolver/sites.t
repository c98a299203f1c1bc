#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A rate, or a number of jobs at once, for a site holds for all domains behind the same hosts together,
# as the resolver knows them by real MX records, and for nobody else; when the resolver is lost while it
# is asked, too. Of one that is silent no site is known: what waits goes when its time is over.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use Test::More;
use Time::HiRes qw(time);

my $sink = Gatepost::Sink->new(addr => '127.0.0.3', port => 25);
my $slow = Gatepost::Sink->new(addr => '127.0.0.5', port => 25, on => { dot => sub { { reply => '250 2.0.0 taken', delay => 0.4 } } });
my $dns = Gatepost::Dns->new(zones => { test => join '', map {"$_\n"} 'mx A 127.0.0.3', 'far A 127.0.0.2', 'alone A 127.0.0.3', 'slow A 127.0.0.5',
    'one MX 10 mx', 'two MX 10 mx', 'two MX 20 far', 'other MX 10 mx', 'other MX 10 alone',
    (map {"lost$_ MX 10 alone"} 1, 2), (map {"few$_ MX 10 slow"} 1 .. 3) });
Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver $dns->{addr}\noptions timeout:5 attempts:2\n");
my %hop = ('hop.test' => 'smtp:[mx.test]', 'quiet1.test' => 'smtp:[127.0.0.3]', 'quiet2.test' => 'smtp:[127.0.0.3]:25', map { ("few$_.test" => 'few:') } 1 .. 3);
my $gp = Gatepost::Instance->new(main => { relayhost => '',
    transport_maps => 'inline:{' . join(', ', map {"$_=$hop{$_}"} sort keys %hop) . '}',
    default_site_rate_limit => '1/4s', few_site_rate_limit => '', few_site_concurrency_limit => 2 },
    master => ['few unix - - n - - smtp-client']);
$gp->start;
my $pace = Gatepost::Pace->new;
my $c = $gp->session;

my (%taken, %out);
sub take {
    for my $name (@_) {
        my $before = time;
        is($c->mail('', "x\@$name.test", "Subject: $name\r\n\r\nx\r\n")->{code}, 250, "$name: taken");
        $taken{$name} = [$before, time];
    }
}

# How long each has waited in qmgr; %out says between which times it was handed out.
sub waited {
    my %waited;
    for my $name (@_) {
        my $line = $gp->find_log(qr/to=<x\@$name\.test>, .*status=sent/, 20) // '';
        my ($came, $waits) = $line =~ m{delays=([\d.]+)/([\d.]+)/};
        ok(defined $waits, "$name: sent") or diag $line;
        $waited{$name} = $waits // -9;
        $out{$name} = [map { $_ + ($came // 0) + ($waits // 0) } @{ $taken{$name} }];
    }
    return \%waited;
}

# The times at which these were handed out, the first one first.
sub turns { return sort { $a->[0] <=> $b->[0] } map { $out{$_} } @_ }

sub is_known {
    my ($hop, $site, $what) = @_;
    ok(wait_until(5, sub { ($gp->tool('gateq', 'list', '--json'))[1] =~ /"nexthop": *"(?:$hop)".*"site": *"$site"/ }), $what)
        or diag(($gp->tool('gateq', 'list', '--json'))[1]);
}

my @together = qw(one two hop);
my @apart = qw(alone other);
my $from = time;
take(@together, @apart);
is_known('(?:one|two|mx)\.test', 'mx\.test', 'gateq says the site of what waits');
my ($status, $out) = $gp->tool('gateq', 'summary', '--json', '--by', 'site');
ok($status == 0 && $out =~ /^\{"site": "mx\.test", "messages": [1-3],/m, 'and sums it up by site') or diag $out;
my $waited = waited(@together, @apart);
my $stretch = $pace->stretch($from, time);
my ($least) = sort { $a <=> $b } map { $waited->{$_} } @together;
ok($least < 1 * $stretch, 'one of them goes at once') or diag $least;
my @turns = turns(@together);
for my $n (1, 2) {
    ok($turns[$n][1] - $turns[0][0] > 4 * $n - 0.5, 'the others have their turn no sooner than at the rate') or diag join ' ', map {@$_} @turns;
    ok($turns[$n][0] - $turns[0][1] < 4 * $n + 1.5 * $stretch, 'and no later') or diag join ' ', map {@$_} @turns;
}
ok($waited->{$_} < 1 * $stretch, "$_ has other hosts, or only some of them") for @apart;

# So many jobs for all of a site: of six, behind three next hops.
is($c->mail('', "f$_\@few" . (1 + $_ % 3) . '.test', "Subject: few\r\n\r\nx\r\n")->{code}, 250, 'few: taken') for 1 .. 6;
is(scalar $slow->wait_messages(6), 6, 'few: all arrive');
ok(wait_until(5, sub { 6 == (() = $slow->log =~ / S: 250 2\.0\.0 taken$/mg) }), 'and are answered');
my ($busy, $most) = (0, 0);
for (split /\n/, $slow->log) {
    $busy++ if / C: MAIL /;
    $busy-- if / S: 250 2\.0\.0 taken$/;
    $most = $busy if $busy > $most;
}
is($most, 2, 'two at once for all domains of the site') or diag $slow->log;

# The resolver is lost with the questions: the next one is asked, and what it says counts. Alone.test's
# bucket is full by then.
my ($resolver) = @{ $gp->roles->{resolver} };
kill 'STOP', $resolver;
take('lost1', 'lost2');
ok(wait_until(5, sub { 2 == grep {/x\@lost\d\.test"/} split /\n/, ($gp->tool('gateq', 'list', '--json'))[1] }), 'they wait');
is(scalar($gp->log_lines(qr/to=<x\@lost/)), 0, 'for the resolver');
is($gp->kill_role('resolver'), $resolver, 'which is lost');
is_known('lost\d\.test', 'alone\.test', 'the next one says the site');
$from = time;
waited('lost1', 'lost2');
@turns = turns('lost1', 'lost2');
cmp_ok($turns[1][1] - $turns[0][0], '>', 3.5, 'and they go one after the other');

# A silent one: each is a site by itself after five seconds.
($resolver) = @{ $gp->roles->{resolver} };
kill 'STOP', $resolver;
take('quiet1', 'quiet2');
$waited = waited('quiet1', 'quiet2');
kill 'CONT', $resolver;
for my $name (sort keys %$waited) {
    cmp_ok($waited->{$name}, '>=', 4.8, "$name: waits for its site");
    cmp_ok($waited->{$name}, '<', 5 + 1.5 * $pace->stretch($from, time), "$name: no longer, by itself");
}
$gp->stop;
done_testing;
