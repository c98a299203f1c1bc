#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A rate for a site holds for all domains behind the same hosts together, as the resolver knows them by
# real MX records, and for nobody else.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(addr => '127.0.0.3', port => 25);
Gatepost::Dns->new(zones => { test => join '', map {"$_\n"} 'mx A 127.0.0.3', 'far A 127.0.0.2', 'alone A 127.0.0.3',
    'one MX 10 mx', 'two MX 10 mx', 'two MX 20 far', 'other MX 10 mx', 'other MX 10 alone' });
my $gp = Gatepost::Instance->new(main => { relayhost => '', transport_maps => 'inline:{hop.test=smtp:[mx.test]}',
    default_site_rate_limit => '1/2s' });
$gp->start;
my @together = qw(one two hop);
my @apart = qw(alone other);
my $c = $gp->session;
for my $name (@together, @apart) {
    is($c->mail('', "x\@$name.test", "Subject: $name\r\n\r\nx\r\n")->{code}, 250, "$name: taken");
}
ok(wait_until(5, sub { ($gp->tool('gateq', 'list', '--json'))[1] =~ /"nexthop": *"(?:one|two|mx)\.test".*"site": *"mx\.test"/ }),
    'gateq says the site of what waits') or diag(($gp->tool('gateq', 'list', '--json'))[1]);
my %waited;
for my $name (@together, @apart) {
    my $line = $gp->find_log(qr/to=<x\@$name\.test>, .*status=sent/, 20) // '';
    ok($line =~ m{delays=[\d.]+/([\d.]+)/} && ($waited{$name} = $1, 1), "$name: sent") or diag $line;
}
my @turns = sort { $a <=> $b } map { $waited{$_} // -1 } @together;
ok($turns[0] < 1, 'one of them goes at once') or diag "@turns";
ok($turns[1] >= 1 && $turns[2] - $turns[1] >= 1, 'the others have their turn one after the other') or diag "@turns";
ok(($waited{$_} // 9) < 1, "$_ has other hosts, or only some of them") for @apart;
$gp->stop;
done_testing;
