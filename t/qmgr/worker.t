#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Delivery agents and the queue manager: one that lives on while qmgr is replaced, a death before the
# final dot, off and missing transports, suspended destinations, a large body.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

# By DATA, not BDAT: there content is with the next hop before it has said a word.
my $sink = Gatepost::Sink->new(keywords => [qw(PIPELINING 8BITMIME SIZE DSN ENHANCEDSTATUSCODES)], on => {
    dot => sub { $_[0]{sink}->is_set('slow') ? { reply => '250 2.0.0 Ok', delay => 1 } : undef },
    data => sub {
        my ($s) = @_;
        return if !$s->{sink}->is_set('wait');
        $s->{sink}->flag('waits', 1);
        return { reply => '354 go on', delay => 3600 };
    },
});
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, transport_maps => 'inline:{off.test=other:[127.0.0.1]:' . $sink->port
        . ', fed.test=fed:[127.0.0.1]:' . $sink->port
        . ', {err.test=error:5.7.9 not here}, {wait.test=retry:4.7.9 not yet}, void.test=discard:}',
    smtpd_reject_unlisted_recipient => 'no', # smtpd would say so at once
    destination_concurrency_feedback_debug => 'yes', fed_destination_concurrency_limit => 3,
    fed_initial_destination_concurrency => 2, fed_destination_concurrency_failed_cohort_limit => 2,
    default_destination_concurrency_positive_feedback => '1/concurrency',
    fed_destination_concurrency_negative_feedback => '0.25',
}, master => ['other unix - - n - - smtp-client', 'fed unix - - n - - smtp-client']);
$gp->set(defer_transports => 'other');
$gp->start;

sub mail { my ($rcpt, %arg) = @_; $gp->mail('a@client.test', $rcpt, "Subject: x\r\n\r\n", %arg) }
sub copies { my ($rcpt) = @_; scalar grep { grep { $_ eq $rcpt } @{ $_->{rcpts} } } $sink->messages }

# Q5: the worker has given the last dot when qmgr dies; it reports to the next one.
for my $victim (qw(qmgr keeper)) {
    my $rcpt = "held-$victim\@next.test";
    $sink->flag('slow', 1);
    is(mail($rcpt)->{code}, 250, "$victim: accepted");
    ok(wait_until(10, sub { copies($rcpt) }), 'the next hop has it');
    $sink->flag('slow', 0);
    $gp->kill_role($victim);
    $gp->wait_log(qr/to=<\Q$rcpt\E>, .*status=sent/, 'its delivery agent goes on');
    ok($gp->drained(20), 'the queue is empty');
    is(copies($rcpt), 1, 'there is one copy');
    is(scalar(() = $gp->log_lines(qr/to=<\Q$rcpt\E>: in doubt/)), 0, 'and no doubt');
}

# Without a dot nothing is in doubt. Its session never gets further than DATA; all agents that there are
# die at once, so that none of them takes it over and gets further.
$sink->flag('wait', 1);
is(mail('early@next.test')->{code}, 250, 'accepted');
ok(wait_until(10, sub { $sink->is_set('waits') }), 'on its way');
$sink->flag('wait', 0);
kill_at_once(@{ $gp->roles->{'smtp-client'} });
ok(wait_until(20, sub { copies('early@next.test') }), 'a death before the dot: sent again');
ok($gp->drained(20), 'the queue is empty');
is(scalar(() = $gp->log_lines(qr/early\@next\.test>: in doubt/)), 0, 'no doubt');

# Answered without a process.
mail('x@void.test');
$gp->wait_log(qr{/discard\[\d+\]: \w+: to=<x\@void\.test>, relay=none, delay=[\d.]+, delays=[\d./]+, dsn=2\.0\.0, status=sent}, 'discard');
mail('x@err.test');
$gp->wait_log(qr{/error\[\d+\]: \w+: to=<x\@err\.test>, relay=none, .*dsn=5\.7\.9, status=bounced \(not here\)}, 'error');
ok(wait_until(10, sub { grep { $_->{from} eq '' && $_->{content} =~ /x\@err\.test/ } $sink->messages }), 'is returned');
mail('x@wait.test');
$gp->wait_log(qr{/error\[\d+\]: \w+: to=<x\@wait\.test>, relay=none, .*dsn=4\.7\.9, status=deferred \(not yet\)}, 'retry');
mail('x@off.test');
$gp->wait_log(qr{to=<x\@off\.test>, relay=none, .*dsn=4\.3\.2, status=deferred \(deferred transport\)}, 'defer_transports');
$gp->set(defer_transports => undef)->reload;
$gp->tool('gateq', 'flush');
ok(wait_until(20, sub { copies('x@off.test') }), 'on again after a reload');

# More than the journal takes.
my $body = join '', map { sprintf "%060d\r\n", $_ } 1 .. 20000;
my $r = $gp->mail('a@client.test', 'big@next.test', "Subject: big\r\n\r\n$body");
is($r->{code}, 250, 'a large message');
ok(wait_until(20, sub { copies('big@next.test') }), 'arrives');
my ($m) = grep { $_->{rcpts}[0] eq 'big@next.test' } $sink->messages;
is(substr($m->{content}, -length $body), $body, 'as it was');

# What main.cf says of concurrency, in Postfix's lines: it grows by 1/concurrency to the limit, shrinks by
# quarters, and its destination is dead behind two cohorts.
sub fed_lines {
    my ($what) = @_;
    my $last = ''; # "feedback" stands before the line of its destination
    my @found;
    for my $line ($gp->log_lines(qr{/qmgr\[\d+\]: qmgr_queue_$what: })) {
        my ($text) = $line =~ /: qmgr_queue_$what: (.*)/;
        my ($window) = $text =~ /^queue \S+: (limit 3 .*)/;
        push @found, ($last =~ /^feedback / ? $last : ()), $window if $window;
        $last = $text;
    }
    return @found;
}
for my $n (1 .. 3) {
    mail("fed$n\@fed.test");
    ok(wait_until(10, sub { $n == grep {/^limit/} fed_lines('unthrottle') }), "delivery $n");
}
is_deeply([fed_lines('unthrottle')], ['feedback 0.5', 'limit 3 window 2 success 0.5 failure 0 fail_cohorts 0',
    'feedback 0.5', 'limit 3 window 3 success 0 failure 0 fail_cohorts 0',
    'limit 3 window 3 success 0 failure 0 fail_cohorts 0'], 'concurrency grows as main.cf says');

# A destination that is down rests; its mail is deferred without an attempt, and goes when it is back.
$sink->stop;
mail("fed$_\@fed.test") for 4 .. 8;
ok(wait_until(10, sub { 5 <= grep {/^limit/} fed_lines('throttle') }), 'one is down') or diag fed_lines('throttle');
is_deeply([(fed_lines('throttle'))[0 .. 8]], ['feedback 0.25', 'limit 3 window 2 success 0 failure 0.75 fail_cohorts 0.333333',
    'feedback 0.25', 'limit 3 window 2 success 0 failure 0.5 fail_cohorts 0.833333',
    'feedback 0.25', 'limit 3 window 2 success 0 failure 0.25 fail_cohorts 1.33333',
    'feedback 0.25', 'limit 3 window 1 success 0 failure 1 fail_cohorts 1.83333',
    'limit 3 window 0 success 0 failure 1 fail_cohorts 2.83333'], 'and shrinks, and dies');
mail("down$_\@next.test") for 1 .. 8;
$gp->wait_log(qr{/error\[\d+\]: \w+: to=<down\d\@next\.test>, .*dsn=4\.4\.1, status=deferred \(delivery temporarily suspended: connect to }, 'suspended');
$sink->start;
ok(wait_until(20, sub { 16 == grep { $_->{rcpts}[0] =~ /^(?:down|fed)/ } $sink->messages }), 'all arrive by themselves');
is((() = $gp->log_lines(qr/down\d\@next\.test>: in doubt/)), 0, 'no doubt');
is((run_out(build() . '/sbin/gateq', '-c', $gp->dir, 'delete', '--recipient', '*@wait.test'))[0], 0, 'delete by a filter');
$gp->tool('gateq', 'delete', 'ALL');
ok($gp->drained(20), 'the queue is empty');
$gp->stop;
done_testing;
