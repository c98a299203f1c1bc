#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The system's clock is set while mail waits, by days, there and back: no attempt is early for it, none
# is late, none is lost; also behind a death of qmgr. What has had its life by the new time expires.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use Test::More;
use Time::HiRes qw(time);

my $sink = Gatepost::Sink->new(addr => '0.0.0.0', on => {
    rcpt => sub { $_[1] =~ /^<(?:quick|slow)/ || !$_[0]{sink}->is_set('open') ? '450 4.2.0 not now' : undef } });
my $port = $sink->port;
my $clock = tempdir('clock') . '/clock';
set_clock(0);
my $gp = Gatepost::Instance->new(
    before => 'LD_PRELOAD=' . build() . "/t/qmgr/set_clock.so GP_CLOCK=$clock",
    main => {
        relayhost => "[127.0.0.1]:$port", queue_file_delay => '1s',
        transport_maps => "inline:{quick.test=smtp:[127.0.0.2]:$port, slow.test=smtp:[127.0.0.3]:$port}",
        backoff_plan_maps => 'inline:{127.0.0.3=slow}', backoff_plans => '{ default = 1s } { slow = 5s, 5s, 1h }' });
$gp->start;
my $pace = Gatepost::Pace->new;

my $days = 0;

sub set_clock {
    my ($usec) = @_;
    # In place: the programs have it mapped.
    open my $fh, (-e $clock ? '+<' : '>'), $clock or die "$clock: $!";
    syswrite $fh, pack 'q', $usec;
    close $fh;
    return;
}

sub turn {
    my ($by) = @_;
    $days += $by;
    set_clock($days * 86400 * 1e6);
    $gp->mark;
    return;
}

# When the next hop heard of a recipient, by a clock that nobody sets.
sub tries {
    my ($who) = @_;
    return map { /^(\d+\.\d+) .*C: RCPT TO:<\Q$who\E\@/ ? $1 : () } split /\n/, $sink->log;
}

# Not sooner than said; a machine with much to do may be late.
sub gaps_are {
    my ($who, $want, @at) = @_;
    my @gaps = map { $at[$_] - $at[$_ - 1] } 1 .. $#at;
    my $most = ($want + 3) * $pace->stretch(@at[0, -1]);
    is(scalar(grep { $_ < $want - 0.01 || $_ > $most } @gaps), 0, "$who: each $want s behind the one before")
        or diag "@gaps";
    return;
}

# One message whose recipients wait differently: that one of them is due says nothing of the other.
is($gp->mail('a@client.test', ['quick@quick.test', 'slow@slow.test'], "Subject: x\r\n\r\n")->{code}, 250, 'two plans');
is($gp->mail('a@client.test', 'keep@quick.test', "Subject: x\r\n\r\n")->{code}, 250, 'and one that arrives in the end');
ok(wait_until(10, sub { 3 == grep { scalar tries($_) } qw(quick slow keep) }), 'the first attempts');
turn(1);
$gp->wait_log(qr/warning: the clock was set forward by 86(?:399|40[01]) s: what waits goes on waiting/, 'forward by a day');
ok(wait_until(20, sub { tries('slow') >= 2 }), 'a second attempt');
turn(-2);
$gp->wait_log(qr/warning: the clock was set back by 172(?:799|80[01]) s/, 'back by two');
my $seen = tries('quick');
ok(wait_until(20, sub { tries('quick') >= $seen + 2 }), 'attempts go on');
gaps_are('quick', 1, tries('quick'));
$gp->wait_log(qr/smtp\[\d+\]: \w+: to=<quick\@quick\.test>, .*status=deferred/, 'noted');
$gp->kill_role('qmgr');
ok(wait_until(20, sub { tries('slow') >= 3 }), 'a third one, by the next qmgr');
gaps_are('slow', 5, tries('slow'));
is(scalar(() = $gp->all_lines(qr/status=expired/)), 0, 'nothing expires');
is(scalar(() = $gp->all_lines(qr/delays?=[\d.\/]*-/)), 0, 'no line has a negative time');

# Five days are over: it expires when it is due, without another attempt, and its sender is told once.
$sink->flag('open', 1);
ok(wait_until(20, sub { grep { $_->{rcpts}[0] =~ /^keep/ } $sink->messages }), 'what can go goes');
turn(7);
my %before = map { $_ => scalar(my @at = tries($_)) } qw(quick slow);
$gp->wait_log(qr/from=<a\@client\.test>, status=expired, returned to sender/, 'it expires', 20);
ok($gp->drained(20), 'the queue is empty');
cmp_ok(scalar(my @at = tries('quick')), '<=', $before{quick} + 1, 'behind no more than the attempt under way');
is(scalar(@at = tries('slow')), $before{slow}, 'no other came sooner for it');
is(scalar(grep { $_->{from} eq '' && $_->{content} =~ /slow\@slow\.test/ } $sink->messages), 1, 'its sender is told once');
is(scalar(grep { $_->{rcpts}[0] =~ /^keep/ } $sink->messages), 1, 'the other one arrived once');
$gp->stop;
done_testing;
