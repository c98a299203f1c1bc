#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Row E9: rates of clients and logins, over all workers; who is over one is told so, others are not,
# and it may come again when the time is over. The greylist of row F4.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Pace;
use Gatepost::Sasl;
use Gatepost::Tables;
use Test::More;
use Time::HiRes qw(time sleep);

# What is to be over a rate must come within this, on a busy machine too.
my $unit = 12;
my $dir = tempdir('rates');
my $logins = table('hash', "$dir/logins", "joe " . crypt_record('secret') . "\nann " . crypt_record('secret') . "\n");
my %port = map { $_ => free_port() } qw(connection message recipient auth byte login more grey);
my $set = sub { my ($name, @set) = @_; "$port{$name} inet n - n - - smtpd " . join ' ', map { "-o $_" } @set };
my $gp = Gatepost::Instance->new(
    main => {
        anvil_rate_time_unit => "${unit}s", anvil_status_update_time => '3s', mynetworks => '127.0.0.200', smtpd_safe_clients => '127.0.0.201',
        smtpd_recipient_restrictions => 'permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination',
        virtual_mailbox_domains => 'local.test', virtual_mailbox_maps => 'static:x',
        virtual_transport => 'discard', default_transport => 'discard', smtpd_error_sleep_time => 0,
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $logins,
        smtpd_greylist_delay => '2s', smtpd_greylist_auto_allow => 2,
    },
    master => [
        $set->(connection => 'smtpd_client_connection_rate_limit=3'),
        $set->(message => 'smtpd_client_message_rate_limit=3'),
        $set->(recipient => 'smtpd_client_recipient_rate_limit=4'),
        $set->(auth => 'smtpd_client_auth_rate_limit=2'),
        $set->(byte => 'smtpd_client_byte_rate_limit=10000'),
        $set->(login => 'smtpd_login_message_rate_limit=2', 'smtpd_login_recipient_rate_limit=5'),
        $set->(more => 'smtpd_login_recipient_rate_limit=3', 'smtpd_login_byte_rate_limit=10000'),
        $set->(grey => 'smtpd_greylist=yes'),
    ],
);
$gp->start;

sub client {
    my ($port, $from, $quiet) = @_;
    my $c = $gp->client(port => $port{$port}, from => $from // '127.0.0.1');
    $c->hello if !$quiet;
    return $c;
}

sub mail {
    my ($c, $to, $content) = @_;
    my $r = $c->mail('a@far.test', $to // 'u@local.test', $content // "x\r\n");
    $c->cmd('RSET') if $r->{code} != 250;
    return $r->{text};
}

# Tally is waited for 200 ms and no more: when it is slower who is over a rate is let through, which is
# seen by the time that took. What CODE says the first time that this was not so.
sub over {
    my ($code) = @_;
    for (1 .. 20) {
        my $from = time;
        my $text = $code->() // '';
        return $text if $text !~ /^2/ || time - $from < 0.2;
    }
    return 'let through each time';
}

my ($begin, @after);
sub wait_unit { my $left = $begin + $unit * 13 / 12 + 0.3 - time; sleep $left if $left > 0; return }

subtest 'connections' => sub {
    # One after the other: which worker counts its client first is nobody's promise.
    my @c = map { my $c = client('connection', '127.0.0.2', 1); $c->expect(220); $c } 1 .. 3;
    is(over(sub { push @c, client('connection', '127.0.0.2', 1); $c[-1]->reply->{text} }), '421 4.7.0 mx.example Error: too many connections from 127.0.0.2', 'one over');
    ok($c[-1]->at_eof, 'closed');
    $gp->wait_log(qr/warning: Connection rate limit exceeded: @{[ scalar @c ]} from unknown\[127\.0\.0\.2\] for service $port{connection}$/);
    client('connection', '127.0.0.3', 1)->expect(220, 'another client');
    for my $free ('127.0.0.200', '127.0.0.201') {
        my $good = grep { client('connection', $free, 1)->reply->{code} == 220 } 1 .. 5;
        is($good, 5, "$free is exempt");
    }
    push @after, sub { client('connection', '127.0.0.2', 1)->expect(220, 'a connection') };
    my $time = qr/[A-Z][a-z][a-z] [ 123]\d \d\d:\d\d:\d\d/;
    $gp->wait_log(qr/ gatepost\/anvil\[\d+\]: statistics: max $_ at $time$/)
        for "connection rate @{[ scalar @c ]}\/${unit}s for \\($port{connection}:127\\.0\\.0\\.2\\)",
        "connection count \\d for \\($port{connection}:127\\.0\\.0\\.2\\)", 'cache size \d';
};

subtest 'messages' => sub {
    my ($c, $d) = (client('message', '127.0.0.2'), client('message', '127.0.0.2'));
    like(mail($_), qr/^250 /, 'within the limit') for $c, $d, $c;
    my $n = 3;
    is(over(sub { $n++; mail($d) }), '450 4.7.1 Error: too much mail from 127.0.0.2', 'one over, in another session');
    $gp->wait_log(qr/warning: Message delivery request rate limit exceeded: $n from unknown\[127\.0\.0\.2\] for service $port{message}$/);
    like(mail(client('message', '127.0.0.3')), qr/^250 /, 'another client');
    push @after, sub {
        like(mail($d), qr/^250 /, 'a message');
        $c->send("MAIL FROM:<a\@b.test>\r\nRCPT TO:<u\@local.test>\r\nRSET\r\n" x 2);
        is(join(' ', map { $c->reply->{code} } 1 .. 6), '250 250 250 250 250 250', 'messages pipelined');
    };
};

subtest 'recipients' => sub {
    my $c = client('recipient', '127.0.0.2');
    $c->cmd('RCPT TO:<u@local.test>', 503) for 1 .. 3;
    $c->send("MAIL FROM:<a\@b.test>\r\n" . "RCPT TO:<u\@local.test>\r\n" x 4);
    is(join(' ', map { $c->reply->{code} } 1 .. 5), '250 250 250 250 250', 'within the limit');
    my $n = 4;
    like(over(sub { $n++; $c->cmd('RCPT TO:<u@local.test>')->{text} }), qr/^450 /, 'one over');
    like(over(sub { $c->cmd('RCPT TO:<u@local.test>')->{text} }), qr/^450 /, 'and another');
    $gp->wait_log(qr/warning: Recipient address rate limit exceeded: $n from unknown\[127\.0\.0\.2\] for service/);
    push @after, sub { is($c->cmd('RCPT TO:<u@local.test>')->{code}, 250, 'a recipient') };
};

subtest 'AUTH' => sub {
    my @c = map { client('auth', '127.0.0.2') } 1 .. 2;
    is(plain($c[0], 'joe', 'secret')->{code}, 235, 'within the limit');
    is(plain($c[1], 'joe', 'wrong')->{code}, 535, 'wrong');
    is(over(sub { push @c, client('auth', '127.0.0.2'); plain($c[-1], 'joe', 'secret')->{text} }), '450 4.7.1 Error: too many AUTH commands from 127.0.0.2', 'one over');
    $gp->wait_log(qr/warning: AUTH command rate limit exceeded: @{[ scalar @c ]} from unknown\[127\.0\.0\.2\] for service/);
    is(plain(client('auth', '127.0.0.3'), 'joe', 'secret')->{code}, 235, 'another client');
    push @after, sub { is(plain($c[-1], 'joe', 'secret')->{code}, 235, 'AUTH') };
};

subtest 'bytes' => sub {
    my $c = client('byte', '127.0.0.2');
    like(mail($c, undef, 'x' x 70 . ("\r\n" . 'x' x 70) x 99), qr/^250 /, 'a part of it') for 1 .. 2;
    is(over(sub { mail($c) }), '450 4.7.1 Error: too many bytes from 127.0.0.2', 'all of it');
    like(mail(client('byte', '127.0.0.3')), qr/^250 /, 'another client');
    push @after, sub { like(mail($c), qr/^250 /, 'bytes') };
};

# All at once, since it takes time.
subtest 'when the time is over' => sub {
    $begin = time;
    wait_unit();
    $_->() for @after;
};

subtest 'over a restart' => sub {
    # What is older slides out of the rate bit by bit, and a tally that does not end within the time that it
    # is given has written none of it.
    my $again = '';
    for my $addr (map {"127.0.0.$_"} 41 .. 45) {
        my $c = client('message', $addr);
        like(mail($c), qr/^250 /, 'within the limit') for 1 .. 3;
        $gp->restart;
        $again = over(sub { mail(client('message', $addr)) });
        last if $again =~ /^450 /;
    }
    like($again, qr/^450 4\.7\.1 /, 'what was counted is known');
};

subtest 'logins' => sub {
    my @c = map { client('login', "127.0.0.$_") } 2 .. 5;
    is(plain($_, 'joe', 'secret')->{code}, 235, 'joe') for @c[0 .. 2];
    is(plain($c[3], 'ann', 'secret')->{code}, 235, 'ann');
    like(mail($_), qr/^250 /, 'within the limit') for @c[0 .. 1];
    my $n = 2;
    is(over(sub { $n++; mail($c[2]) }), '450 4.7.1 Error: too much mail from joe', 'one over, from another address');
    $gp->wait_log(qr/Message delivery request rate limit exceeded: $n from unknown\[127\.0\.0\.4\] for service $port{login}, sasl_username=joe$/);
    like(mail($c[3]), qr/^250 /, 'another login');

    my ($here, $there, $ann) = map { client('more', "127.0.0.$_") } 2 .. 4;
    plain($_, 'joe', 'secret') for $here, $there;
    plain($ann, 'ann', 'secret');
    $_->cmd('MAIL FROM:<a@b.test>', 250) for $here, $there;
    $here->cmd('RCPT TO:<u@local.test>', 250) for 1 .. 3;
    is(over(sub { $there->cmd('RCPT TO:<u@local.test>')->{text} }), '450 4.7.1 Error: too many recipients from joe', 'recipients of a login');
    like(mail($ann, undef, 'x' x 70 . ("\r\n" . 'x' x 70) x 99), qr/^250 /, 'within its bytes') for 1 .. 2;
    is(over(sub { mail($ann) }), '450 4.7.1 Error: too many bytes from ann', 'bytes of a login');
};

subtest 'greylist' => sub {
    my $c = client('grey', '127.0.0.2');
    $begin = time;
    like(over(sub { mail($c) }), qr/^450 4\.7\.1 <u\@local\.test>: Recipient address rejected: Greylisted, try again in \d seconds$/, 'a stranger');
    $gp->wait_log(qr/NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.2\]: 450 4\.7\.1 <u\@local\.test>: Recipient address rejected: Greylisted/);
    like(mail(client('grey', $_)), qr/^250 /, "$_ is exempt") for '127.0.0.200', '127.0.0.201';
    my $d = client('grey', '127.0.0.2');
    plain($d, 'joe', 'secret');
    like(mail($d), qr/^250 /, 'who has authenticated is exempt');
    like(over(sub { mail($c, 'v@local.test') }), qr/^450 /, 'another recipient');
    $gp->kill_role('tally');
    sleep 2.2 - (time - $begin) if time - $begin < 2.2;
    my $passed = wait_until(10, sub { mail(client('grey', '127.0.0.2')) =~ /^250 / });
    ok($passed, 'it comes again, with tally killed in between');
    like(mail(client('grey', '127.0.0.9')), qr/^250 /, 'from its network too');
    # It came later, and waits for its own time.
    ok(wait_until(10, sub { mail($c, 'v@local.test') =~ /^250 / }), 'the other one');
    like(mail($c, 'w@local.test'), qr/^250 /, 'a network that has passed twice is known');
};

subtest 'with a tally that hangs' => sub {
    my ($pid) = @{ $gp->roles->{tally} };
    kill 'STOP', $pid;
    my $pace = Gatepost::Pace->new;
    $begin = time;
    my $c = client('message', '127.0.0.78');
    like(mail($c), qr/^250 /, 'nobody is held up') for 1 .. 3;
    # At connect, for the cache, and at each of MAIL, RCPT: 200 ms at most.
    ok($pace->within(5, $begin), 'for long');
    kill 'CONT', $pid;
};

subtest 'without tally' => sub {
    is(($gp->tool('gatepost', 'service', 'tally/unix', 'stop'))[0], 0, 'tally is stopped');
    my $pace = Gatepost::Pace->new;
    $begin = time;
    my $c = client('message', '127.0.0.77');
    like(mail($c), qr/^250 /, 'nobody is held up') for 1 .. 5;
    ok($pace->within(4, $begin), 'nor waits');
};

like(join("\n", $gp->log_lines(qr/statistics/)), qr/statistics: max $_ rate \d+\/${unit}s for \(/, "statistics: $_") for qw(message recipient auth);
$gp->stop;
done_testing;
