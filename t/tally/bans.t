#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Rows D4, D5, F1, F2, F3: bans by failed logins, unknown recipients and errors, in all workers, over
# kill -9 of tally and a restart of all; live sessions are cut; who is exempt; gatepost ban.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Tables;
use Test::More;
use Time::HiRes qw(time sleep);

# Long enough for what is looked at meanwhile, with sanitizers and on a busy machine too.
my $ban = 20;

my $dir = tempdir('bans');
my $logins = table('hash', "$dir/logins", "joe " . crypt_record('secret') . "\n");
my %port = map { $_ => free_port() } qw(code none);
my $gp = Gatepost::Instance->new(
    main => {
        mynetworks => '127.0.0.200', smtpd_safe_clients => '127.0.0.201',
        smtpd_ban_exempt_clients => '$mynetworks, 127.0.0.202',
        smtpd_recipient_restrictions => 'permit_sasl_authenticated, reject_unauth_destination',
        virtual_mailbox_domains => 'local.test', virtual_mailbox_maps => 'inline:{{u@local.test=x}}',
        virtual_transport => 'discard', smtpd_error_sleep_time => 0, smtpd_hard_error_limit => 100,
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $logins,
        smtpd_ban_auth_failures => 3, smtpd_ban_unknown_recipients => 3, smtpd_ban_errors => 4,
        smtpd_ban_time => "${ban}s",
    },
    master => [
        "$port{code} inet n - n - - smtpd -o smtpd_ban_reject_code=554",
        "$port{none} inet n - n - - smtpd -o smtpd_ban_auth_failures=0 -o smtpd_ban_unknown_recipients=0 -o smtpd_ban_errors=0",
    ],
);
$gp->start;

sub client {
    my ($from, $port) = @_;
    my $c = $gp->client(from => $from, ($port ? (port => $port{$port}) : ()));
    return $c;
}
sub session { my $c = client(@_); $c->hello; return $c }
sub ban { my ($status, $out) = $gp->tool('gatepost', 'ban', @_); return $status ? "status $status: $out" : $out }
# Whether a client is refused by every worker: more clients than there are.
sub is_banned { my ($from) = @_; return !grep { client($from)->reply->{code} != 421 } 1 .. 8 }
sub is_free { my ($from) = @_; return !grep { client($from)->reply->{code} != 220 } 1 .. 8 }
# Bytes of tally's files.
sub kept { my $n = 0; $n += -s $_ // 0 for split /\n/, (run_out('find', $gp->{main}{data_directory}, '-name', 'log.*', '-type', 'f'))[1]; return $n }
sub unknown { my ($c, $n) = @_; return $c->cmd("RCPT TO:<x$n\@local.test>")->{code} }

# What brings a ban, n times in one session; the replies.
my %abuse = (
    auth => sub { my ($c, $n) = @_; map { plain($c, 'joe', "wrong$_")->{code} } 1 .. $n },
    'unknown-recipients' => sub { my ($c, $n) = @_; $c->cmd('MAIL FROM:<a@b.test>', 250); map { unknown($c, $_) } 1 .. $n },
    errors => sub { my ($c, $n) = @_; map { $c->cmd("FOO $_")->{code} } 1 .. $n },
);
my %reason = (auth => '3 failed logins', 'unknown-recipients' => '3 unknown recipients', errors => '4 errors');
my %code = (auth => 535, 'unknown-recipients' => 550, errors => 500);
my $last = 1;
my @after;
for my $origin (sort keys %abuse) {
    subtest "banned for $origin" => sub {
        my $addr = '127.0.0.' . ++$last;
        my $limit = $origin eq 'errors' ? 4 : 3;
        my ($c, $idle, $data) = map { session($addr) } 1 .. 3;
        $data->cmd('MAIL FROM:<a@b.test>', 250);
        $data->cmd('RCPT TO:<u@local.test>', 250);
        $data->cmd('DATA', 354);
        is(join(' ', $abuse{$origin}->($c, $limit - 1)), join(' ', ($code{$origin}) x ($limit - 1)), 'not yet');
        ok(is_free($addr), 'still free');
        my $begin = time;
        my @r = $abuse{$origin}->(session($addr), 1) if $origin ne 'auth';
        @r = plain(session($addr), 'joe', 'another')->{code} if $origin eq 'auth';
        is($r[-1], $code{$origin}, 'the last one has its ordinary reply, in another session');
        for my $live ($c, $idle, $data) {
            is($live->reply->{text}, "421 4.7.0 mx.example Error: $addr is banned for now", 'live sessions end');
            ok($live->at_eof, 'closed');
        }
        # Tally tells every worker, within a second; those with these sessions know already.
        ok(wait_until(5, sub { is_banned($addr) }), 'new ones are refused');
        ok(time - $begin < $ban - 0.5, 'all of it in time for that');
        is(client($addr, 'code')->reply->{text}, "554 5.7.0 mx.example Error: $addr is banned for now", 'smtpd_ban_reject_code');
        like(ban('show', $addr), qr/^\Q$addr\E\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t$origin\t$reason{$origin} within 3600 s$/, 'gatepost ban show');
        ok(is_free('127.0.0.99'), 'others are not');
        $gp->wait_log(qr/tally\[\d+\]: ban: \Q$addr\E for $ban s: $reason{$origin} within 3600 s \($origin\)$/);
        $gp->wait_log(qr/smtpd\[\d+\]: NOQUEUE: reject: CONNECT from unknown\[\Q$addr\E\]: 421 4\.7\.0 mx\.example Error: \Q$addr\E is banned for now; proto=SMTP$/);
        push @after, sub {
            ok(wait_until($ban + 10, sub { is_free($addr) }), "$addr is free again after the time");
            $gp->wait_log(qr/tally\[\d+\]: ban: \Q$addr\E has ended \($origin\)$/);
            like(ban('show', $addr), qr/^status 1: gatepost: \Q$addr\E is not banned$/, 'gone');
        };
    };
}
subtest 'the time is over' => sub { $_->() for @after };

subtest 'never banned' => sub {
    for my $addr ('127.0.0.200', '127.0.0.201', '127.0.0.202') {
        my $c = session($addr);
        $abuse{$_}->($c, 6) for 'auth', 'errors', 'unknown-recipients';
        ok(is_free($addr), "$addr is exempt");
    }
    my $c = session('127.0.0.20');
    is(plain($c, 'joe', 'the same')->{code}, 535, 'the same wrong password') for 1 .. 5;
    ok(is_free('127.0.0.20'), 'counts once');
    $c = session('127.0.0.21', 'none');
    $abuse{$_}->($c, 6) for 'auth', 'errors', 'unknown-recipients';
    ok(is_free('127.0.0.21'), '0: never');
    $c = session('127.0.0.22');
    $c->cmd('MAIL FROM:<a@b.test>', 250);
    $c->cmd("RCPT TO:<x$_\@far.test>", 454) for 1 .. 6;
    ok(is_free('127.0.0.22'), 'refusals by policy are no errors');
};

subtest 'what is an error' => sub {
    my %line = (500 => 'FOO', 501 => 'HELO', 503 => 'RCPT TO:<u@local.test>', 555 => 'MAIL FROM:<a@b.test> FOO=BAR');
    my $c = session('127.0.0.23');
    is($c->cmd($line{$_})->{code}, $_, $line{$_}) for sort keys %line;
    is($c->reply->{code}, 421, 'each of them counts');
    $c = session('127.0.0.24');
    $c->cmd('MAIL FROM:<a@b.test>', 250);
    $c->cmd("RCPT TO:<x$_\@local.test>", 550) for 1, 2;
    $c->cmd($_, qr/^25/) for ('NOOP') x 4, 'VRFY u@local.test', 'RSET';
    ok(is_free('127.0.0.24'), 'nothing else does');
    ban('remove', '127.0.0.23');
};

subtest 'gatepost ban' => sub {
    my $live = session('127.0.1.1');
    is(ban('list'), '', 'none');
    is(ban('add', '127.0.1.0/24', '--time', '1h', '--reason', "a\ttab"), '', 'add a network');
    is($live->reply->{code}, 421, 'in force at once');
    ok(wait_until(5, sub { is_banned('127.0.1.77') }), 'in every worker');
    is(ban('add', '127.0.2.1'), '', 'add an address');
    like(ban('list'), qr{\A127\.0\.1\.0/24\t[-\d]+ [:\d]+\t[-\d]+ [:\d]+\toperator\ta.tab\n127\.0\.2\.1\t}, 'list');
    like(ban('--json', 'show', '127.0.1.5'), qr/^\{"client": "127\.0\.1\.0\/24", "since": \d+, "until": \d+, "origin": "operator", "reason": "a.tab"\}$/, 'show as JSON');
    is(ban('add', '127.0.2.1', '--time', '2h', '--reason', 'renewed'), '', 'renew');
    like(ban('show', '127.0.2.1'), qr/\trenewed$/, 'renewed');
    for my $row (['add', 'host.test'], ['add', '127.0.0.1/40'], ['remove', 'x'], ['show'], ['add', '127.0.2.9', '--time', 'x'], ['walk']) {
        isnt(($gp->tool('gatepost', 'ban', @$row))[0], 0, "bad: @$row");
    }
    like(ban('remove', '127.0.9.9'), qr/^status 1: gatepost: 127\.0\.9\.9 is not banned$/, 'one that is not there');
    is(ban('add', '127.0.0.201'), '', 'a safe client can be named');
    ok(is_free('127.0.0.201'), 'but not banned');

    $gp->kill_role('tally');
    ok(is_banned('127.0.1.77'), 'tally is killed: known bans hold');
    ok(wait_until(10, sub { ban('list') =~ /renewed/ }), 'and it knows them again');
    $gp->restart;
    ok(wait_until(5, sub { is_banned('127.0.1.77') }), 'over a restart too');
    is(ban('remove', '127.0.1.0/24'), '', 'remove');
    ok(wait_until(5, sub { is_free('127.0.1.77') }), 'free at once');
    is(ban('remove', '127.0.2.1'), '', 'remove the other');
    like(ban('list'), qr/\A127\.0\.0\.201\t[^\n]*\n\z/, 'one is left');
};

subtest 'failures survive kill -9' => sub {
    # Tally is told of a failure while the client is, and kept is what it has written.
    my $c = session('127.0.0.30');
    for my $n (1, 2) {
        my $before = kept();
        is(plain($c, 'joe', "other$n")->{code}, 535, 'a failure');
        ok(wait_until(10, sub { kept() > $before }), 'is kept');
    }
    $gp->kill_role('tally');
    wait_until(10, sub { ban('list') !~ /status/ });
    plain(session('127.0.0.30'), 'joe', 'third');
    ok(wait_until(2, sub { is_banned('127.0.0.30') }), 'the third after it');
};

subtest 'limits of the table' => sub {
    ban('remove', (split /\t/)[0]) for split /\n/, ban('list');
    $gp->set(smtpd_ban_window => '2s', smtpd_ban_limit => 2)->reload;
    ban('add', $_, '--time', '1h') for qw(127.0.3.1 127.0.3.2 127.0.3.3);
    is(join(' ', map { (split /\t/)[0] } split /\n/, ban('list')), '127.0.3.2 127.0.3.3', 'smtpd_ban_limit: the oldest goes');
    ok(wait_until(5, sub { is_free('127.0.3.1') }), 'and is free');
    my $c = session('127.0.0.31');
    $abuse{errors}->($c, 3);
    my $last = time;
    sleep 2.5 while time - $last < 2.5;
    is($c->cmd('FOO')->{code}, 500, 'smtpd_ban_window: one more error');
    ok(is_free('127.0.0.31'), 'after the window bans nobody');
};

$gp->stop;
done_testing;
