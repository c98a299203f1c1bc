#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Views of the queue by destination, site, reason, age and sender, the table of qshape, filters and
# --dry-run on what changes more than one message, and flush by site; with qmgr and without it.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX ();
use Test::More;

my ($down, $relay) = (free_port(), free_port());
my $grey = Gatepost::Sink->new(on => { rcpt => sub { '450 4.2.0 <x@y.test>: Greylisted, id ' . int rand 1e6 } });
my $gp = Gatepost::Instance->new(main => {
    minimal_backoff_time => '1h', maximal_backoff_time => '1h', queue_file_delay => '1s',
    relayhost => "[127.0.0.1]:$relay", default_destination_concurrency_failed_cohort_limit => 0,
    transport_maps => "inline:{{down.test=smtp:[127.0.0.1]:$down} {.down.test=smtp:[127.0.0.1]:$down}"
        . " {grey.test=smtp:[127.0.0.1]:" . $grey->port . '} {many.test=retry:4.1.2 ' . 'not now ' x 50 . '}}',
    smtp_connect_timeout => '5s', smtpd_recipient_limit => 20000,
    virtual_alias_domains => 'al.test', virtual_alias_maps => 'regexp:{{/^(u[0-9]+)@al\.test$$/ $$1@many.test}}' });
$gp->start;

# from, to …
my @mail = (['a@one.test', 'u1@down.test', 'u2@down.test'], ['b@one.test', 'u3@down.test'], ['', 'u4@sub.down.test'],
    ['a@two.test', 'u5@grey.test'], ['c@two.test', 'u6@grey.test', 'u7@down.test']);
my @id;
for (@mail) {
    my ($from, @to) = @$_;
    my $r = $gp->mail($from, \@to, "Subject: x\r\n\r\nx\r\n");
    push @id, $r->{text} =~ /queued as (\w+)/;
}
is(scalar @id, @mail, 'messages');
sub gateq { $gp->tool('gateq', @_) }
# It has been tried, and is not on its way any more.
sub later { my ($of) = @_; return grep { $_->{queue_id} eq $of && $_->{queue_name} eq 'deferred' && ($_->{next_attempt} // 0) > time + 1800 } map { decode_json($_) } split /\n/, (gateq('list', '--json'))[1] }
sub rows { my ($by, @more) = @_;
    my ($status, $out) = gateq('summary', '--json', '--by', $by, @more);
    return map { decode_json($_) } split /\n/, $out }
sub counts { my ($by, @more) = @_; return { map { $_->{$by} => "$_->{messages} $_->{recipients}" } rows($by, @more) } }
sub all_deferred { my %q = map { /"queue_name": "(\w+)"/; ($1 => 1) } $gp->queue_list; return "@{[keys %q]}" eq 'deferred' }
# A list knows a message a moment behind the 250.
ok(wait_until(20, sub { @id == (() = $gp->queue_list) && all_deferred() }), 'all are deferred');

sub check_views {
    my ($how) = @_;
    my ($d, $g) = ("[127.0.0.1]:$down", '[127.0.0.1]:' . $grey->port);
    is_deeply(counts('destination'), { "smtp:$d" => '4 5', "smtp:$g" => '2 2' }, "$how: by destination");
    is_deeply(counts('site'), { $d => '4 5', $g => '2 2' }, 'by site');
    is_deeply(counts('reason'), { 'connect: Connection refused' => '4 5',
        'said: 450 4.2.0 <*>: Greylisted, id * (in reply to RCPT TO command)' => '2 2' }, 'by reason');
    is_deeply(counts('sender'), { '<>' => '1 1', 'a@one.test' => '1 2', 'b@one.test' => '1 1', 'a@two.test' => '1 1',
        'c@two.test' => '1 2' }, 'by sender');
    is_deeply(counts('age'), { '< 5m' => '5 7' }, 'by age');
    is_deeply(counts('sender', '--reason', 'greylisted'), { 'a@two.test' => '1 1', 'c@two.test' => '1 1' }, 'with a filter');
    is_deeply([map { $_->{sender} } rows('sender', '--top', 1)], ['a@one.test'], 'the first');
    my ($row) = rows('destination');
    is_deeply([sort keys %$row], [sort qw(destination messages recipients bytes active deferred hold oldest newest next_attempt)],
        'members');
    is("@$row{qw(active deferred hold)}", '0 4 0', 'in which queues');
    my ($status, $out) = gateq('summary', '--by', 'destination');
    is($status, 0, 'for people');
    like($out, qr/\A *messages +recipients +active +deferred +hold +oldest +next +destination\n +5 +7 +0 +5 +0 +\d+\w+ +\d+\w+ +TOTAL\n +4 +5 +0 +4 +0 .*  smtp:\Q$d\E\n +2 +2 .*\Q$g\E\n\z/,
        'a table') or diag $out;
    ($status, $out) = $gp->tool('qshape', 'deferred');
    is($status, 0, 'qshape');
    my $head = '  T  5 10 20 40 80 160 320 640 1280 1280+';
    is($out, join('', map {"$_\n"} ' ' x 39 . $head, map { sprintf '%39s%s', $_->[0],
        sprintf '%3d%3d%3d%3d%3d%3d%4d%4d%4d%5d%6d', $_->[1], $_->[1], (0) x 9 }
        ['TOTAL', 7], ['down.test', 4], ['grey.test', 2], ['sub.down.test', 1]), 'its table');
    ($status, $out) = $gp->tool('qshape', '-s', '-b', 3, '-t', 10, '-l', 'deferred');
    is_deeply([map { [split ' '] } split /\n/, $out], [[qw(T 10 20 20+)], ['TOTAL', 5, 5, 0, 0], ['one.test', 2, 2, 0, 0],
        ['two.test', 2, 2, 0, 0], ['MAILER-DAEMON', 1, 1, 0, 0]], 'qshape -s -b -t -l');
    ($status, $out) = $gp->tool('qshape', '-p', '-m', 1, 'deferred');
    like($out, qr/^ +\.down\.test +1 +1/m, 'qshape -p');
    like(($gp->tool('qshape'))[1], qr/\A.*\n +TOTAL(?: +0){11}\n\z/, 'nothing is active');
}

sub check_dry_runs {
    my ($how) = @_;
    is((gateq('hold', $id[3]))[0], 0, "$how: one is held");
    my $before = join "\n", sort $gp->queue_list;
    for (['delete', '--recipient', 'down.test', 0, 1, 4], ['hold', '--sender', '@one.test', 0, 1],
        ['requeue', '--reason', 'greylisted', 3, 4], ['expire', '--sender', '<>', 2], ['delete', 'ALL', 0 .. 4],
        ['hold', '--older', '1h'], ['delete', '--older', '0s', 0 .. 4], ['flush', '--site', '.down.test', 2],
        ['flush', 0 .. 2, 4], ['delete', '--queue', 'hold', 3], ['delete', '--queue', 'active,deferred', 0 .. 2, 4],
        ['hold', '--recipient', 'u6@grey.test', '--site', 'down.test'], ['hold', 'ALL', 0 .. 2, 4], ['release', 'ALL', 3],
        ['release', '--sender', '@one.test'], ['flush', '--sender', '@two.test', 4]) {
        my @args = grep { !/^\d\z/ } @$_;
        my ($status, $out) = gateq(@args, '--dry-run');
        is_deeply([sort grep {!/^gateq: /} split /\n/, $out], [sort map { $id[$_] } grep {/^\d$/} @$_], "$how: @args --dry-run");
        is($status, 0, 'done');
    }
    is(join("\n", sort $gp->queue_list), $before, 'and nothing has changed');
    is_deeply([gateq('release', 'ALL')], [0, "release: 1 message\n"], 'release ALL');
    ok(wait_until(20, sub { $how eq 'offline' ? all_deferred() : later($id[3]) }), 'it waits again');
}

# What --dry-run names and counts is what is done.
sub as_said {
    my ($how, $command, $want, @args) = @_;
    my @ids = sort map { /^\d\z/ ? $id[$_] : $_ } @$want;
    my $n = @ids == 1 ? '1 message' : @ids . ' messages';
    my ($status, $out) = gateq($command, @args, '--dry-run');
    is_deeply([$status, sort split /\n/, $out], [0, sort @ids, "gateq: $command: $n would be, nothing was done"], "$how: $command @args --dry-run");
    return is_deeply([gateq($command, @args)], [0, "$command: $n\n"], "$how: $command @args");
}

check_views('online');
# Messages that are read from their files for several at a time are there for all of them.
my %heads;
for (1 .. 6) {
    my @lists = map { open my $fh, '-|', build() . '/sbin/gateq', '-c', $gp->dir, 'list', '--json' or die $!; $fh } 1 .. 12;
    $heads{ scalar(() = <$_>) }++ for @lists;
}
is_deeply(\%heads, { 5 => 72 }, 'many lists at a time, and all are whole');
check_dry_runs('online');
is((gateq('summary'))[0], 1, 'summary wants to know by what');
is((gateq('summary', '--by', 'colour'))[0], 1, 'and something that there is');
# A script's variable that is not set must not choose everything, nor a filter be passed by.
for (['delete', '--site', ''], ['delete', '--reason', ''], ['delete', '--recipient', ''], ['hold', '--sender', ''],
    ['delete', '--queue', ''], ['delete', '--sender', 'nobody@no.test', $id[0]], ['hold', '--older', '1h', @id]) {
    my ($status, $out) = gateq(@$_);
    is($status, 1, "refused: @$_");
    like($out, qr/\Agateq: (?:--\w+: expected a value, not nothing|\w+: expected ids or filters, not both)\n\z/, 'and says why');
}
is(scalar($gp->queue_list), 5, 'nothing has changed');

$gp->stop;
check_views('offline');
check_dry_runs('offline');
as_said('offline', 'hold', [3, 4], '--sender', '@two.test');
is_deeply([sort map { decode_json($_)->{queue_id} } grep {/"hold"/} $gp->queue_list], [sort @id[3, 4]], 'these are held');
as_said('offline', 'release', [3, 4], '--queue', 'hold');
as_said('offline', 'delete', [1], '--sender', 'b@one.test');
is(scalar(() = $gp->queue_list), 4, 'one less');
is_deeply([gateq('flush', '--sender', '<>')], [1, "gateq: the mail system is down: nothing can be sent now\n"], 'nothing to flush offline');

# Flush by site: the domain of recipients, or a next hop.
my $sink = Gatepost::Sink->new(port => $down);
$gp->start;
is((gateq('flush', '--sender', '<>'))[0], 0, 'flush by a filter');
ok(wait_until(20, sub { grep { $_->{rcpts}[0] eq 'u4@sub.down.test' } $sink->messages }), 'it goes');
is(scalar(() = $sink->messages), 1, 'and no other');
is(($gp->tool('postqueue', '-s', 'down.test'))[0], 0, 'postqueue -s with the domain');
ok(wait_until(20, sub { my %r = map { $_ => 1 } map { @{ $_->{rcpts} } } $sink->messages; $r{'u1@down.test'} && $r{'u2@down.test'} }),
    'all of it goes');

# Of a relay's mail, what --dry-run names and no more, and with sendmail -qR, too; by the next hop, all.
my ($oldest) = sort { $a <=> $b } map { decode_json($_)->{arrival_time} } $gp->queue_list;
my $half = int((time - $oldest) / 2);
cmp_ok($half, '>=', 2, 'some mail is old by now');
my @relayed = map { $gp->mail('a@one.test', $_, "Subject: x\r\n\r\n")->{text} =~ /queued as (\w+)/ } map {"u\@$_.test"} qw(first second third fourth);
ok(wait_until(20, sub { 4 == (() = map { later($_) } @relayed) }), 'mail for the relay waits');
is_deeply([sort grep {!/^gateq: /} split /\n/, (gateq('expire', '--older', time - $oldest - $half . 's', '--dry-run'))[1]], [sort @id[3, 4]],
    'younger mail is not --older');
my $next = Gatepost::Sink->new(port => $relay);
as_said('online', 'flush', [$relayed[0]], '--site', 'first.test');
ok(wait_until(20, sub { scalar(() = $next->messages) }), 'one goes');
is(scalar(() = map { later($_) } @relayed[1 .. 3]), 3, 'what is not of the domain still waits');
sub gone { my ($rcpt) = @_; return ok(wait_until(20, sub { grep { $_->{rcpts}[0] eq $rcpt } $next->messages }), "$rcpt goes") }
sub dry { my ($program, @args) = @_; my ($status, $out) = $gp->tool($program, '--dry-run', @args); return [$status, sort split /\n/, $out] }
is_deeply(dry('postqueue', '-s', 'second.test'), [0, sort $relayed[1], 'postqueue: flush: 1 message would be, nothing was done'], 'postqueue -s --dry-run');
is(($gp->tool('sendmail', '-qRsecond.test'))[0], 0, 'sendmail -qR with the domain');
gone('u@second.test');
is(scalar(() = map { later($_) } @relayed[2, 3]), 2, 'what is not of the domain still waits');
is_deeply(dry('postqueue', '-s', "[127.0.0.1]:$relay"), [0, sort @relayed[2, 3], 'postqueue: flush: 2 messages would be, nothing was done'],
    'postqueue -s with the next hop --dry-run');
is(($gp->tool('postqueue', '-s', "[127.0.0.1]:$relay"))[0], 0, 'and without');
gone($_) for 'u@third.test', 'u@fourth.test';

# All that waits, and ids as they come: of those that are not there neither speaks as done.
ok(wait_until(20, sub { 2 == (() = $gp->queue_list) && 2 == (() = map { later($_) } @id[3, 4]) }), 'two wait');
is_deeply(dry('postqueue', '-f'), [0, sort @id[3, 4], 'postqueue: flush: 2 messages would be, nothing was done'], 'postqueue -f --dry-run');
is_deeply([gateq('flush')], [0, "flush: 2 messages\n"], 'flush says how many');
ok(wait_until(20, sub { 2 == (() = map { later($_) } @id[3, 4]) }), 'they wait again');
sub of_stdin { my ($program, $input, @args) = @_; return [run_out('sh', '-c', 'printf %s "$0" | "$@"', $input, build() . "/sbin/$program", '-c', $gp->dir, @args)] }
my $ids = join '', map {"$_\n"} @id[3, 0, 3];
is_deeply(of_stdin('gateq', $ids, 'hold', '-', '--dry-run'),
    [1, "$id[3]\ngateq: $id[0]: no such message, or nothing to do for it\ngateq: hold: 1 message would be, nothing was done\n"],
    'ids on standard input, --dry-run');
like(of_stdin('gateq', $ids, 'delete', '-', '--dry-run')->[1], qr/delete: 1 message would be/, 'once is enough');
for (['-d', 'Deleted', 'delete', 3], ['-h', 'Placed on hold', 'hold', 3]) {
    my ($option, $done, $command) = @$_;
    is_deeply(of_stdin('postsuper', $ids, '--dry-run', $option, '-'), [0, "$id[3]\npostsuper: $command: 1 message would be, nothing was done\n"],
        "postsuper $option - --dry-run");
}
is_deeply(dry('postsuper', '-h', 'ALL'), [0, sort @id[3, 4], 'postsuper: hold: 2 messages would be, nothing was done'], 'postsuper -h ALL --dry-run');
is_deeply([$gp->tool('postsuper', '-h', 'ALL')], [0, "postsuper: Placed on hold: 2 messages\n"], 'postsuper -h ALL');
is_deeply(dry('postsuper', '-H', 'ALL', 'hold'), [0, sort @id[3, 4], 'postsuper: release: 2 messages would be, nothing was done'], 'postsuper -H ALL --dry-run');
is_deeply([$gp->tool('postsuper', '-H', 'ALL')], [0, "postsuper: Released from hold: 2 messages\n"], 'postsuper -H ALL');
is_deeply(of_stdin('postsuper', $ids, '-h', '-'), [0, "postsuper: Placed on hold: 1 message\n"], 'postsuper -h -');
as_said('online', 'release', [3], 'ALL');
ok(wait_until(20, sub { 2 == (() = map { later($_) } @id[3, 4]) }), 'they wait again');

# Mail of a file in maildrop is as old as the file.
$gp->stop;
for my $minutes (90, 360) {
    is((run_out('sh', '-c', 'printf "Subject: old\n\nx\n" | "$@"', 'sh', build() . '/sbin/sendmail', '-C', $gp->dir, '-f', 'old@one.test',
        "u$minutes\@grey.test"))[0], 0, 'mail of a program');
    my ($file) = glob $gp->queue . '/maildrop/drop.*';
    ok(utime(time - 60 * $minutes, time - 60 * $minutes, $file) && rename($file, $gp->dir . "/drop$minutes"), "$minutes minutes old");
}
rename $gp->dir . "/drop$_", $gp->queue . '/maildrop/drop.' . sprintf('%024X', $_) for 90, 360;
$gp->start;
my %old;
ok(wait_until(20, sub { %old = map { $_->{recipients}[0]{address} => $_->{queue_id} } grep { $_->{sender} eq 'old@one.test' } map { decode_json($_) } $gp->queue_list;
    2 == keys %old && all_deferred() }), 'they wait, too');
my ($young, $aged) = @old{'u90@grey.test', 'u360@grey.test'};
for my $how ('online', 'offline') {
    $gp->stop if $how eq 'offline';
    is_deeply(counts('age'), { '< 5m' => '2 2', '< 160m' => '1 1', '< 640m' => '1 1' }, "$how: by age");
    is_deeply([map { $_->{age} } rows('age')], ['< 5m', '< 160m', '< 640m'], 'the youngest first');
    like(($gp->tool('qshape', 'deferred'))[1], qr/^ +TOTAL +4 +2 +0 +0 +0 +0 +1 +0 +1 +0 +0$/m, 'qshape');
    as_said($how, 'hold', [$young, $aged], '--older', '1h');
    as_said($how, 'release', [$aged], '--queue', 'hold', '--older', '5h');
    as_said($how, 'release', [$young], 'ALL');
    ok(wait_until(20, sub { 2 == (() = map { later($_) } $young, $aged) }), 'they wait again') if $how eq 'online';
}
as_said('offline', 'expire', [$aged], '--older', '300m');
$gp->start;
ok(wait_until(20, sub { grep { $_->{from} eq '' && $_->{content} =~ /^Final-Recipient: .*u360\@grey\.test/m } $next->messages }), 'it is returned');
ok(wait_until(20, sub { !grep { $_->{queue_id} eq $aged } map { decode_json($_) } $gp->queue_list }), 'and gone');
ok(wait_until(20, sub { later($young) }), 'the other one waits');
as_said('online', 'requeue', [$young], '--older', '1h', '--recipient', '@grey.test');
ok(wait_until(20, sub { grep { $_->{sender} eq 'old@one.test' && $_->{queue_id} ne $young } map { decode_json($_) } $gp->queue_list }), 'requeued: by a new id');
is_deeply([map { $_->{age} } rows('age', '--sender', 'old@one.test')], ['< 160m'], 'and as old as it was');
ok(wait_until(20, sub { all_deferred() && later($id[3]) }), 'it waits');
as_said('online', 'expire', [3], '--sender', 'a@two.test', '--reason', 'greylisted');
ok(wait_until(20, sub { grep { $_->{rcpts}[0] eq 'a@two.test' && $_->{content} =~ /^Final-Recipient: .*u5\@grey\.test/m } $next->messages }), 'a sender is told');
$gp->stop;
as_said('offline', 'requeue', [4], '--sender', 'c@two.test');
$gp->start;

# One message alone is more than a connection holds at a time.
my $many = 12000;
is($gp->mail('a@one.test', [map {"u$_\@al.test"} 1 .. $many], "Subject: x\r\n\r\nx\r\n")->{code}, 250, 'a message to many');
ok(wait_until(30, sub { all_deferred() && grep {/"u1\@many\.test"/} $gp->queue_list }), 'all of them wait');
my ($status, $out) = gateq('list', '--json', '--queue', 'deferred');
my %rcpts = map { $_->{sender} => scalar @{ $_->{recipients} } } grep { $_->{recipients}[0]{address} =~ /many\.test$/ }
    map { decode_json($_) } grep {/^\{/} split /\n/, $out;
is_deeply([$status, \%rcpts], [0, { 'a@one.test' => $many }], 'it is listed whole') or diag substr $out, -200;
is_deeply([grep { $_ eq "1 $many" } values %{ counts('reason') }], ["1 $many"], 'and counted') or diag explain counts('destination');

# Lists that are not read stand in memory: users have some at a time, and are no hindrance to root.
SKIP: {
    skip 'only root can be somebody else', 4 if $>;
    my $list = pack 'VvvQ<CCvQ<', 12, 192, 0, 1, 4, 1, 8, 1; # QUEUE_LIST with recipients
    pipe my $from_child, my $to_parent or die $!;
    my $pid = fork // die $!;
    if (!$pid) {
        my (@open, @types);
        for (0 .. 16) {
            local $> = 60_000 + int($_ / 8);
            push @open, IO::Socket::UNIX->new(Peer => $gp->queue . '/public/qmgr');
            syswrite $open[-1], $list;
            sysread $open[-1], my $head, 16;
            push @types, (unpack 'Vv', $head)[1];
        }
        syswrite $to_parent, "@types\n";
        sleep 60;
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
    is(scalar <$from_child>, join(' ', (193) x 16, 198) . "\n", 'sixteen lists are begun, the next is refused');
    is((gateq('list'))[0], 0, 'root has one all the same');
    kill 'KILL', $pid;
    waitpid $pid, 0;

    # Connections that say nothing: a user has a few, and all users together leave some to root.
    gateq('list'); # those of before are gone when it has its answer
    my @idle = map { local $> = 60_010 + int($_ / 9); IO::Socket::UNIX->new(Peer => $gp->queue . '/public/qmgr') } 0 .. 71;
    is((gateq('list'))[0], 0, 'they do not keep root out');
    my %closed = map { $_ => 1 } IO::Select->new(@idle)->can_read(0);
    is(join('', map { $closed{$_} ? 0 : 1 } @idle), '111111110' x 6 . '0' x 18, 'eight a user, and 48 in all');
}

# Who may have what waits tried.
SKIP: {
    skip 'only root can be somebody else', 4 if $>;
    $gp->stop;
    $gp->set(authorized_flush_users => '!nobody, static:anyone');
    $gp->start;
    my $flush = pack 'VvvQ<CCva*', 9, 195, 0, 1, 83, 2, 5, 'flush'; # QUEUE_DO
    my $result = sub {
        local $> = $_[0];
        my $s = IO::Socket::UNIX->new(Peer => $gp->queue . '/public/qmgr') or return "none: $!";
        syswrite $s, $flush;
        sysread $s, my $answer, 4096;
        return (unpack 'Vv', $answer)[1] . ($answer =~ /not allowed|denied|may not/i ? ' refused' : '');
    };
    is($result->(60_001), '198', 'anybody');
    is($result->(65_534), '198 refused', 'but who is not to');
}
$gp->stop;
done_testing;
