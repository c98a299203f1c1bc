#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Rates of destinations, and what is known of destinations, over stops, deaths and damage.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;
use Time::HiRes qw(time);

my $sink = Gatepost::Sink->new(addr => '0.0.0.0');
my $port = $sink->port;
my $gp = Gatepost::Instance->new(main => {
    transport_maps => "inline:{rate.test=smtp:[127.0.0.2]:$port}",
    smtp_destination_rate_limit => '2/6s', initial_destination_concurrency => 1, minimal_backoff_time => '300s', queue_file_delay => '1s' });
$gp->start;

sub mail { my ($rcpt) = @_; is($gp->mail('a@client.test', $rcpt, "Subject: x\r\n\r\n")->{code}, 250, $rcpt) }
sub came { my ($of) = @_; return map { $_->{time} } grep { $_->{rcpts}[0] =~ /$of/ } $sink->messages }

# No more than the bucket holds and what comes into it: two at once, then one each three seconds. A death
# of qmgr fills no bucket, nor does a restart. Each has its turn so much behind the first, which left no
# sooner than this; what of them takes its time on the way is nobody's fault.
my $begin = time;
mail("r$_\@rate.test") for 1 .. 3;
ok(wait_until(10, sub { came('rate') >= 2 }), 'two go');
$gp->kill_role('qmgr');
mail('r4@rate.test');
ok(wait_until(15, sub { came('rate') == 4 }), 'the others follow');
my @at = came('rate');
cmp_ok($at[1] - $at[0], '<', 2.9, 'at once');
cmp_ok($at[$_] - $begin, '>=', 3 * ($_ - 1) - 0.05, 'message ' . ($_ + 1) . ' waits for its turn') for 2, 3;
$gp->restart;
mail('r5@rate.test');
ok(wait_until(15, sub { came('rate') == 5 }), 'one more');
@at = came('rate');
cmp_ok($at[4] - $begin, '>=', 8.95, 'a clean restart fills none') or diag "@at";

# A destination that was found dead still is.
$sink->stop;
mail('y@rate.test');
$gp->wait_log(qr/to=<y\@rate\.test>, .*status=deferred \(connect to/, 'nobody is there');
mail("z$_\@rate.test") for 1 .. 2;
$gp->wait_log(qr/delivery temporarily suspended: connect to 127\.0\.0\.2/, 'it rests', 15);
$gp->restart;
$sink->start;
$gp->mark;
mail('again@rate.test');
$gp->wait_log(qr/error\[\d+\]: \w+: to=<again\@rate\.test>, .*delivery temporarily suspended: connect to 127\.0\.0\.2/, 'and rests behind a restart', 5);

# What cannot be read is learnt again.
$gp->stop;
my $kept = $gp->queue . '/log/kept';
ok(-s $kept, 'it is in a file');
my $bytes = slurp($kept);
spew($kept, substr($bytes, 0, length($bytes) - 3));
$gp->mark;
$gp->start;
$gp->wait_log(qr{warning: log/kept: .*what was known of destinations is learnt again}, 'damage is told');
mail('new@rate.test');
ok(wait_until(10, sub { came('new@rate') }), 'and nothing rests');
$gp->tool('gateq', 'delete', 'ALL');

$gp->stop;
done_testing;
