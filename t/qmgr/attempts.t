#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# How often each recipient is tried, and when: plans of back-off by next hop and by reply, each
# recipient of a message by its own; relay_attempts_limit; attempts in doubt and those that were none;
# the end of a message that waits for its turn. Counted at the next hop, over deaths and restarts.
use strict;
use warnings;
use JSON::PP ();
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(addr => '0.0.0.0', on => {
    rcpt => sub {
        my ($s, $arg) = @_;
        return '450 4.7.1 greylisted' if $arg =~ /^<grey/;
        return if $arg =~ /^<(?:doubt|direct|both|last)/ && $s->{sink}->is_set('hang');
        return '450 4.2.0 not now' if $arg =~ /^<(?:own|usual|rest|limit|doubt|late|count|fall|direct|both|last)/;
        return;
    },
    dot => sub {
        my ($s) = @_;
        return if !$s->{sink}->is_set('hang') || !grep {/^<?(?:doubt|direct|both|last)/} @{ $s->{rcpts} };
        $s->{sink}->flag('hung', 1);
        return { reply => '250 2.0.0 Ok', delay => 2 };
    },
});
my $port = $sink->port;
my $closed = free_port();
my $gp = Gatepost::Instance->new(main => {
    relayhost => "[127.0.0.1]:$port", relay_attempts_limit => 3,
    transport_maps => "inline:{plan.test=smtp:[127.0.0.2]:$port, usual.test=smtp:[127.0.0.3]:$port,"
        . " nowhere.test=nowhere:[127.0.0.7]:$port, late.test=late:[127.0.0.4]:$port, rest.test=smtp:[127.0.0.11]:$port, count.test=count:[127.0.0.5]:$port, typo.test=smtp:[127.0.0.6]:$port,"
        . " mix.test=fall:[127.0.0.10]:$port, closed.test=fall:[127.0.0.8]:$closed}",
    sender_dependent_relayhost_maps => "inline:{sd\@client.test=[127.0.0.9]:$port}",
    backoff_plan_maps => 'inline:{127.0.0.2=mine, 127.0.0.1=relay, 127.0.0.5=often, 127.0.0.6=mnie, 127.0.0.11=rest}',
    backoff_plans => '{ rest = 1h } { mine = 1s, 4s } { mine 4.7.1 = 2s } { default = 3s } { relay = 1s } { often = 1s }',
    transport_retry_time => '1s', late_destination_rate_limit => '2/60s', queue_file_delay => '1s',
    count_destination_concurrency_limit => 1, count_initial_destination_concurrency => 1,
}, master => ['late unix - - n - - smtp-client', 'count unix - - n - - smtp-client',
    # One worker: of two that are killed together, the second is handed what the first had, before its death is seen.
    "fall unix - - n - 1 smtp-client -o smtp_fallback_relay=[127.0.0.7]:$port"]);
$gp->start;
my $pace = Gatepost::Pace->new;

sub mail { my ($rcpts, %arg) = @_; $gp->mail('a@client.test', $rcpts, "Subject: x\r\n\r\n", %arg) }

# When the next hop heard of a recipient.
sub tries {
    my ($rcpt) = @_;
    return map { /^(\d+\.\d+) .*C: RCPT TO:<\Q$rcpt\E>/ ? $1 : () } split /\n/, $sink->log;
}

# Not sooner than said; a machine with much to do may be late. What a death puts in doubt is sent again
# at once, and was sent before or not: behind a doubt there is no gap to be looked at.
sub gaps_are {
    my ($rcpt, @want) = @_;
    ok(wait_until(20, sub { tries($rcpt) > @want }), "$rcpt: so many attempts");
    my @at = tries($rcpt);
    return note "$rcpt was on its way when somebody died" if $gp->log_lines(qr/to=<\Q$rcpt\E>: in doubt: /);
    for my $i (0 .. $#want) {
        my $gap = $at[$i + 1] - $at[$i];
        ok($gap >= $want[$i] - 0.01 && $gap < ($want[$i] + 3) * $pace->stretch(@at[$i, $i + 1]), "$rcpt: $want[$i] s behind attempt " . ($i + 1))
            or diag "$gap: @at";
    }
    return;
}

# One message, each recipient by its own plan; qmgr dies while they wait. One waits longer than this test.
is(mail('rest@rest.test')->{code}, 250, 'one that is tried once');
is(mail([qw(own@plan.test grey@plan.test usual@usual.test)])->{code}, 250, 'three plans');
ok(wait_until(10, sub { 3 == grep { scalar tries($_) } qw(own@plan.test grey@plan.test usual@usual.test) }), 'the first attempts');
$gp->wait_log(qr/to=<\Q$_\E>, .*status=deferred/, "$_ waits") for qw(own@plan.test grey@plan.test usual@usual.test);
ok(wait_until(20, sub { my ($of) = map { /"queue_id": "(\w+)".*rest\@/ ? $1 : () } $gp->queue_list; $of && glob $gp->queue . "/deferred/*/$of" }), 'the one is in its file');

# Nobody serves that transport: told below.
is(mail('first@nowhere.test')->{code}, 250, 'for a transport that there is not');

# A plan that there is not is told of once.
is(mail([qw(usual1@typo.test usual2@typo.test)])->{code}, 250, 'two by a plan that there is not');
$gp->wait_log(qr/warning: backoff_plan_maps: no plan "mnie" in backoff_plans; the default is used/, 'which is said');

# Through a relay: three attempts and no more, by the last reply; one of two in doubt counts.
is(mail('limit@relay.test')->{code}, 250, 'for a relay');
$sink->flag('hang', 1);
is(mail('doubt@relay.test')->{code}, 250, 'another');
ok(wait_until(10, sub { $sink->is_set('hung') }), 'its content is with the relay');
$sink->flag('hang', 0);
kill_at_once(@{ $gp->roles->{'smtp-client'} });
$gp->wait_log(qr/to=<doubt\@relay\.test>: in doubt: /, 'it is in doubt');
ok(wait_until(10, sub { tries('doubt@relay.test') >= 2 }), 'and sent again');
$gp->kill_role('qmgr');
$gp->wait_log(qr/to=<limit\@relay\.test>, status=expired, returned to sender: 3 attempts through a relay/, 'limit', 20);
$gp->wait_log(qr/to=<doubt\@relay\.test>, status=expired, returned to sender: 3 attempts through a relay/, 'doubt', 20);
sub bounce { my ($rcpt) = @_; my ($m) = grep { $_->{from} eq '' && $_->{content} =~ /^Final-Recipient: rfc822; ?\Q$rcpt\E/mi } $sink->messages; $m }
for my $rcpt (qw(limit@relay.test doubt@relay.test)) {
    ok(wait_until(10, sub { bounce($rcpt) }), "$rcpt is returned");
    like(bounce($rcpt)->{content}, qr/450 4\.2\.0 not now/, 'with the last reply');
    # What was noted, and not yet sent, when qmgr was killed is in doubt, counts, and was not seen.
    my $unseen = $gp->log_lines(qr/to=<\Q$rcpt\E>: in doubt/) - ($rcpt =~ /^doubt/ ? 1 : 0);
    my @at = tries($rcpt);
    ok(@at <= 3 && @at >= 3 - $unseen, 'the relay saw it three times') or diag "@at, $unseen in doubt beside";
}

gaps_are('own@plan.test', 1, 4);
gaps_are('grey@plan.test', 2, 2);
gaps_are('usual@usual.test', 3);
cmp_ok(scalar $gp->log_lines(qr/no plan "mnie"/), '<=', 2, 'once by each qmgr');
my ($id) = map { /"queue_id": "(\w+)".*own\@/ ? $1 : () } $gp->queue_list;
# A death puts in doubt what is on its way just then, and nothing that waits.
is(join("\n", $gp->log_lines(qr/to=<rest\@rest\.test>: in doubt: /)), '', 'what waited was not in doubt');
is(scalar(my @at = tries('rest@rest.test')), 1, 'nor tried again');

# A transport without workers: its mail is deferred, what comes in transport_retry_time at once.
$gp->wait_log(qr/to=<first\@nowhere\.test>, relay=none, .*dsn=4\.3\.0, status=deferred \(mail transport unavailable\)/, 'nobody serves it', 30);
cmp_ok(scalar(my @warned = $gp->log_lines(qr/warning: no worker of transport nowhere: its mail is deferred/)), '>=', 1, 'which is said');
my $more = 0;
ok(wait_until(10, sub {
    mail('more' . ++$more . '@nowhere.test');
    return !$gp->find_log(qr/to=<more$more\@nowhere\.test>, .*mail transport unavailable/, 0.5);
}), 'and it is waited for again') or diag "$more messages";

# What show says is what the next hop saw, behind a clean stop, a start with another monotonic clock,
# and the death of everything.
sub attempts {
    my ($of) = @_;
    my (undef, $text) = $gp->tool('gateq', 'show', $of);
    my %n;
    $n{$1} = $2 while $text =~ /^recipient: (\S+)\n(?:.+\n)*?attempts: (\d+)/mg;
    return \%n;
}
# All that was seen is counted, and beside it nothing but what was noted, and not yet sent, at a death.
sub is_counted {
    my ($rcpt, $n) = @_;
    my @at = tries($rcpt);
    my $doubts = $gp->all_lines(qr/to=<\Q$rcpt\E>: in doubt: /);
    return defined $n && $n >= @at && $n <= @at + $doubts;
}
$gp->set(backoff_plans => '{ mine = 1h } { default = 1h } { relay = 1s } { often = 1s }')->reload;
my @three = qw(own@plan.test grey@plan.test usual@usual.test);
# Each has been tried by the new plan: nothing is on its way, or due.
sub all_rest {
    my ($line) = grep {/"queue_name": "deferred", .*"queue_id": "$id"/} $gp->queue_list;
    return $line && 3 == grep { $_ > time + 1800 } map { $_->{next_attempt} // 0 } @{ JSON::PP::decode_json($line)->{recipients} };
}
ok(wait_until(20, \&all_rest), 'all rest');
my %before = map { $_ => scalar(my @at = tries($_)) } @three;
$gp->tool('gateq', 'flush');
# Nothing is on its way any more: the stop behind it would meet it anywhere.
ok(wait_until(20, sub { !grep { my @at = tries($_); @at <= $before{$_} } @three }), 'each is tried once more');
ok(wait_until(20, sub {
    my $n = attempts($id);
    return all_rest() && 3 == grep { is_counted($_, $n->{$_}) } @three;
}), 'counted as seen')
    or diag explain attempts($id);
$gp->stop;
is(system('unshare', '-T', '--monotonic', '1000000', build() . '/sbin/gatepost', '-c', $gp->dir, 'start'), 0, 'a start with another clock');
ok(wait_until(10, sub { my $n = attempts($id); 3 == grep { is_counted($_, $n->{$_}) } @three }), 'the same') or diag explain attempts($id);
ok($gp->kill_all, 'all is dead') or diag explain $gp->roles;
$gp->start;
ok(wait_until(10, sub { my $n = attempts($id); 3 == grep { is_counted($_, $n->{$_}) } @three }), 'the same') or diag explain attempts($id);
$gp->tool('gateq', 'delete', $id);

# Of attempts that try other hosts first, those count that came to the relay; one in doubt, too, and
# no other follows the last one. Where nobody lives who knows, it counts.
sub deferrals { my ($rcpt) = @_; return scalar(() = $gp->log_lines(qr/to=<\Q$rcpt\E>, .*status=deferred/)) }
sub begin { my ($rcpt, $from) = @_; return ($gp->mail($from // 'a@client.test', $rcpt, "Subject: x\r\n\r\n")->{text} =~ /queued as (\w+)/)[0] }
sub try_now { my ($of, $rcpt) = @_; return ok(wait_until(10, sub { ($gp->tool('gateq', 'flush', $of))[1] eq "flush: 1 message\n" }), "$rcpt: once more") }
sub deferred { my ($rcpt, $n) = @_; return ok(wait_until(10, sub { deferrals($rcpt) >= $n }), "$rcpt: deferred $n") }
sub dies_at_dot {
    my ($rcpt, $start, @roles) = @_;
    $sink->flag($_->[0], $_->[1]) for ['hung', 0], ['hang', 1];
    my $of = $start->();
    ok(wait_until(10, sub { $sink->is_set('hung') }), "$rcpt: its content is there");
    $sink->flag('hang', 0);
    my $roles = $gp->roles;
    kill_at_once(map { @{ $roles->{$_} } } @roles);
    # That line says that it is sent again.
    $gp->wait_log(qr/to=<\Q$rcpt\E>: in doubt: /, "$rcpt is in doubt") if $rcpt !~ /^last/;
    return $of;
}
sub ends_behind {
    my ($rcpt, $n, $what) = @_;
    $gp->wait_log(qr/to=<\Q$rcpt\E>, status=expired, returned to sender: 3 attempts through a relay/, "$rcpt is returned");
    is(scalar(() = $gp->log_lines(qr/to=<\Q$rcpt\E>: in doubt: /)), $rcpt =~ /^(?:direct|both)/ ? 1 : 0, 'no other doubt') or diag join "\n", $gp->log_lines(qr/\Q$rcpt\E/), map { "at $_" } tries($rcpt);
    return is(scalar(my @at = tries($rcpt)), $n, $what);
}
for (['fall@mix.test', 6, 'three attempts, each by way of a host of its own'], ['last@sd.test', 3, 'the last one in doubt', 'sd@client.test'],
    ['last@closed.test', 3, 'the last one in doubt, by the fall-back'], ['direct@mix.test', 7, 'a doubt that was not the relay\'s', undef, 'smtp-client'],
    ['both@mix.test', 5, 'a doubt of which nobody knows', undef, 'qmgr', 'smtp-client']) {
    my ($rcpt, $want, $what, $from, @die) = @$_;
    my $of = @die ? dies_at_dot($rcpt, sub { begin($rcpt, $from) }, @die) : begin($rcpt, $from);
    deferred($rcpt, 1);
    try_now($of, $rcpt);
    deferred($rcpt, 2) if $rcpt ne 'both@mix.test';
    if ($rcpt =~ /^last/) {
        dies_at_dot($rcpt, sub { try_now($of, $rcpt) }, 'smtp-client');
    } elsif ($rcpt ne 'both@mix.test') {
        try_now($of, $rcpt);
    }
    ends_behind($rcpt, $want, $what);
}

# Retries that are prepared for a destination that dies meanwhile had no attempt.
mail("count$_\@count.test") for 1 .. 12;
ok(wait_until(15, sub { 12 == (() = $gp->log_lines(qr/smtp\[\d+\]: \w+: to=<count\d+\@count\.test>, .*status=deferred/)) }), 'all are deferred');
$sink->stop;
ok(wait_until(15, sub { $gp->log_lines(qr/error\[\d+\]: \w+: to=<count\d+\@count\.test>, .*delivery temporarily suspended/) >= 5 }), 'their destination dies')
    or diag $gp->log_lines(qr/count\d/);
$gp->mark;
$gp->set(defer_transports => 'count')->reload;
# None is on its way any more when each has been put off for that.
ok(wait_until(20, sub { my %put_off = map { /to=<(count\d+\@)/ ? ($1 => 1) : () } $gp->log_lines(qr/status=deferred \(deferred transport\)/); 12 == keys %put_off }),
    'all are put off');
$gp->{marks} = 0;
$gp->restart;
my ($wrong, $compared) = (0, 0);
for my $line ($gp->queue_list) {
    my ($of, $rcpt) = $line =~ /"queue_id": "(\w+)".*(count\d+\@count\.test)/ or next;
    my $seen = () = $gp->log_lines(qr/smtp\[\d+\]: $of: to=<\Q$rcpt\E>/);
    my $n = attempts($of)->{$rcpt};
    $compared++;
    $wrong++, diag "$of: $n attempts, $seen lines of smtp" if $n != $seen;
}
is($compared, 12, 'all are there');
is($wrong, 0, 'each counts what smtp-client had');
$gp->tool('gateq', 'delete', 'ALL');
$sink->start;

# Over its time while it waits for its turn: returned, without another attempt.
$gp->set(maximal_queue_lifetime => '6s', backoff_plans => '{ default = 1s }')->reload;
mail("late$_\@late.test") for 1 .. 3;
for my $n (1, 2) {
    ok(wait_until(15, sub { bounce("late$n\@late.test") }), "late$n is returned");
    is(scalar(my @at = tries("late$n\@late.test")), 1, 'behind one attempt');
}
is(scalar(my @none = tries('late3@late.test')), 0, 'the third waits for its first one');
$gp->tool('gateq', 'delete', 'ALL');
$gp->stop;
done_testing;
