#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A flush of some mail revives the destinations of that mail, and no others.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(addr => '0.0.0.0');
my $port = $sink->port;
my $gp = Gatepost::Instance->new(main => {
    transport_maps => "inline:{a.test=smtp:[127.0.0.2]:$port, b.test=smtp:[127.0.0.4]:$port}",
    initial_destination_concurrency => 1, minimal_backoff_time => '300s', queue_file_delay => '1s' });
$gp->start;

my $n = 0;
sub mail { my ($rcpt) = @_; is($gp->mail('s' . ++$n . '@client.test', $rcpt, "Subject: x\r\n\r\n")->{code}, 250, $rcpt) }
sub sent { my ($rcpt, $what) = @_; return $gp->wait_log(qr/to=<\Q$rcpt\E>, .*status=sent/, $what) }
sub rests { my ($rcpt, $what) = @_; mail($rcpt); return $gp->wait_log(qr/to=<\Q$rcpt\E>, .*delivery temporarily suspended/, $what) }

# Both are dead, and then both would answer.
sub die_both {
    my ($name) = @_;
    $sink->stop;
    $gp->tool('gateq', 'flush');
    for my $of ('a', 'b') {
        mail("$name\@$of.test");
        $gp->wait_log(qr/to=<$name\@$of\.test>, .*status=deferred/, "nobody is there");
        rests("$name-dead\@$of.test", "$of rests");
    }
    $sink->start;
}

die_both('id');
my ($id) = ($gp->find_log(qr/to=<id\@a\.test>/) // '') =~ /: (\w+): to=/;
is(($gp->tool('gateq', 'flush', $id))[0], 0, 'flush by id');
sent('id@a.test', 'it goes');
rests('id-other@b.test', 'but nothing for the other destination');
mail('id-more@a.test');
sent('id-more@a.test', 'its destination lives');

die_both('filter');
is(($gp->tool('gateq', 'flush', '--recipient', 'filter@a.test'))[0], 0, 'flush by a filter');
sent('filter@a.test', 'it goes');
rests('filter-other@b.test', 'but nothing for the other destination');

die_both('site');
is(($gp->tool('gateq', 'flush', '--site', "[127.0.0.4]:$port"))[0], 0, 'flush by site');
sent('site@b.test', 'it goes');
rests('site-other@a.test', 'but nothing for the other destination');

$gp->tool('gateq', 'flush');
sent('site-other@a.test', 'a flush of all revives all');
$gp->stop;
done_testing;
