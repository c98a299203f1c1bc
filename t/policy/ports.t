#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Rows of groups A and E, as they are seen by clients: which ports answer, to whom, with what
# capabilities, and what each port's own limits do to messages.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Sink;
use Gatepost::Smtp;
use IO::Socket::IP;
use Test::More;

my $dir = tempdir('ports');
spew("$dir/hosts", "127.0.0.1 localhost\n127.0.0.2 second.example\n");
system('mount', '--bind', "$dir/hosts", '/etc/hosts') == 0 or die 'mount';
spew("$dir/login", 'joe ' . crypt_record('secret') . "\n");
run_ok('password table', build() . '/sbin/gatemap', "hash:$dir/login");
my $sink = Gatepost::Sink->new;
my $small = "x\r\n";
my $large = ('x' x 70 . "\r\n") x 40;

sub submission {
    my ($port) = @_;
    return "$port inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes"
        . ' -o { smtpd_client_restrictions = permit_sasl_authenticated, reject }'
        . ' -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }';
}
my $plain = '-o smtpd_discard_ehlo_keywords=chunking,etrn -o disable_vrfy_command=yes -o smtputf8_enable=no';
my %limit = (
    sessions => ['3', ''], client => ['-', 'smtpd_client_connection_count_limit=2'], recipients => ['-', 'smtpd_recipient_limit=2'],
    size => ['-', 'message_size_limit=2000'], nosize => ['-', 'smtpd_enforce_size_limit=no'], rset => ['-', 'smtpd_rset_limit=2'],
    errors => ['-', 'smtpd_hard_error_limit=3'],
);
my %port = (in => 2025, submission => 2587, plain => 2026, name => 2027, map { $_ => free_port() } keys %limit);
my $gp = Gatepost::Instance->new(
    port => $port{in},
    main => {
        mynetworks => '127.0.0.9', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => "hash:$dir/login",
        smtpd_relay_restrictions => 'permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination', smtpd_recipient_restrictions => '',
        virtual_mailbox_domains => 'local.test', virtual_mailbox_maps => 'static:x', virtual_transport => 'smtp:[127.0.0.1]:' . $sink->port,
        relayhost => '[127.0.0.1]:' . $sink->port, smtpd_error_sleep_time => 0, message_size_limit => 20000,
        outgoing_message_size_limit => 1000, hopcount_limit => 5, minimal_backoff_time => '1s', maximal_backoff_time => '1s',
    },
    master => [submission($port{submission}), "$port{plain} inet n - n - - smtpd $plain", "second.example:$port{name} inet n - n - - smtpd",
        map {"$port{$_} inet n - n - $limit{$_}[0] smtpd" . ($limit{$_}[1] ? " -o $limit{$_}[1]" : '')} sort keys %limit],
);
$gp->start or die 'no instance';

# The first line that a port says, or '' where it refuses.
sub greeting {
    my ($port, $addr) = @_;
    my $s = IO::Socket::IP->new(PeerHost => $addr // '127.0.0.1', PeerPort => $port, Timeout => 10) or return '';
    local $SIG{ALRM} = sub { die "no greeting\n" };
    alarm 20;
    my $line = <$s> // '';
    alarm 0;
    return $line =~ s/\r\n//r;
}
my $hello = '220 mx.example ESMTP Gatepost';

sub session {
    my ($port, $from) = @_;
    my $c = Gatepost::Smtp->new(port => $port, from => $from // '127.0.0.1') or return;
    return $c->hello ? $c : undef;
}

sub rcpt {
    my ($c, $to) = @_;
    $c->cmd('MAIL FROM:<s@far.test>', 250);
    my $r = $c->cmd("RCPT TO:<$to>");
    $c->cmd('RSET', 250);
    return $r->{code};
}

subtest 'A1, A2, A3: ports' => sub {
    is(greeting(2025), $hello, 'A1: on 2025');
    is(greeting(25), '', 'refused on 25');
    is(greeting(2587), $hello, 'A2: the submission port');
    my %ehlo = map { $_ => join ' ', sort keys %{ session($port{$_})->{ehlo} } } qw(in submission plain);
    my $common = '8BITMIME CHUNKING DSN ENHANCEDSTATUSCODES ETRN MX.EXAMPLE PIPELINING SIZE SMTPUTF8 VRFY';
    is($ehlo{in}, $common, 'A3: what the inbound port can');
    is($ehlo{submission}, $common =~ s/CHUNKING/AUTH CHUNKING/r, 'the submission port: AUTH too');
    is($ehlo{plain}, '8BITMIME DSN ENHANCEDSTATUSCODES MX.EXAMPLE PIPELINING SIZE', 'a port without some');
    my $c = session(2587);
    is(rcpt($c, 'u@local.test'), 554, 'A2: nobody without AUTH');
    is(plain($c, 'joe', 'secret')->{code}, 235, 'AUTH');
    is(rcpt($c, 'x@far.test'), 250, 'then everything');
    $c->quit;
};

subtest 'E: limits' => sub {
    my @c = map { session($port{sessions}) } 1 .. 3;
    is(scalar(grep {$_} @c), 3, 'E1: as many sessions as maxproc says');
    like(greeting($port{sessions}), qr/^421 4\.3\.2 /, 'one over');
    $_->quit for @c;
    @c = map { session($port{client}) } 1 .. 2;
    is(scalar(grep {$_} @c), 2, 'E1: sessions of a client');
    like(greeting($port{client}), qr/^421 4\.7\.0 /, 'one over');
    ok(session($port{client}, '127.0.0.3'), 'not for another client');
    ok(session($port{in}), 'nor on another port');
    $_->quit for @c;

    my $c = session($port{recipients});
    $c->cmd('MAIL FROM:<s@far.test>', 250);
    is(join(' ', map { $c->cmd("RCPT TO:<e2$_\@local.test>")->{code} } 1 .. 3), '250 250 452', 'E2: one recipient over');
    $c->cmd('DATA', 354);
    $c->cmd("$small.", 250);
    is(join(' ', sort map { @{ $_->{rcpts} } } $sink->wait_messages(1)), 'e21@local.test e22@local.test', 'the others get it');

    $c = session($port{size});
    is($c->{ehlo}{SIZE}, 2000, 'E3: said');
    is($c->cmd('MAIL FROM:<s@far.test> SIZE=2001')->{text}, '552 5.3.4 Message size exceeds fixed limit', 'at MAIL');
    is($c->mail('s@far.test', 'e3@local.test', $large)->{text}, '552 5.3.4 Error: message file too big', 'after DATA');
    is($c->bdat('s@far.test', 'e3@local.test', $large)->{code}, 552, 'at BDAT');
    ok($gp->drained, 'nothing is queued');
    is(scalar(grep { $_->{rcpts}[0] =~ /^e3/ } $sink->messages), 0, 'or sent');
    $c = session($port{nosize});
    is($c->mail('s@far.test', 'e6@local.test', $large x 10)->{code}, 250, 'E6: not enforced: larger than the limit');

    $c = session($port{in}, '127.0.0.9');
    $c->cmd('MAIL FROM:<s@local.test> SIZE=1001', 250);
    is($c->cmd('RCPT TO:<e5@far.test>')->{text}, '552 5.3.4 <e5@far.test>: Recipient address rejected: Message size exceeds fixed limit', 'E5: at RCPT, when SIZE= says so');
    is($c->cmd('RCPT TO:<e5@local.test>')->{code}, 250, 'not for a local recipient');
    $c->cmd('RSET', 250);
    is($c->mail('s@local.test', ['e5@far.test', 'f5@far.test'], $large)->{code}, 552, 'E5: after DATA, to far alone');
    is($c->mail('s@local.test', ['e5@far.test', 'e5@local.test'], $large)->{code}, 250, 'to both');
    is($c->mail('s@local.test', 'g5@far.test', $small)->{code}, 250, 'a small one to far');
    my @got = $sink->wait_messages(5);
    my ($notice) = grep { $_->{from} eq '' } @got;
    is($notice->{rcpts}[0], 's@local.test', 'E5: the sender is told') ;
    like($notice->{content} // '', qr/^Final-Recipient: rfc822; e5\@far\.test\r?\n(?:.+\n)*?Action: failed\r?\nStatus: 5\.3\.4/m, 'of the recipient that did not get it');
    is(join(' ', sort map { @{ $_->{rcpts} } } grep { $_->{rcpts}[0] =~ /5\@/ } @got), 'e5@local.test g5@far.test', 'who did');

    is($c->mail('s@far.test', 'u@local.test', "Received: x\r\n" x 4 . "\r\n$small")->{text}, '554 5.4.6 Error: too many hops', 'E7: with ours as many as the limit');
    is($c->mail('s@far.test', 'u@local.test', "Received: x\r\n" x 3 . "\r\n$small")->{code}, 250, 'E7: one fewer');
    $c = session($port{rset});
    $c->cmd('RSET', 250) for 1 .. 2;
    like($c->cmd('RSET')->{text}, qr/^421 4\.7\.0 /, 'E8: one RSET over');
    ok($c->at_eof, 'and closed');
    $c = session($port{errors});
    is(join(' ', map { $c->cmd('BOGUS')->{code} } 1 .. 3), '500 500 500', 'F3: errors');
    like($c->reply->{text}, qr/^421 4\.7\.0 mx\.example Error: too many errors/, 'too many');
    ok($c->at_eof, 'and closed');
};

subtest 'A6: one service' => sub {
    $sink->stop;
    my $c = session($port{in}, '127.0.0.9');
    is($c->mail('s@far.test', 'a6@far.test', $small)->{code}, 250, 'mail waits');
    $gp->wait_log(qr/to=<a6\@far\.test>.* status=deferred /);
    is(($gp->tool('gatepost', 'service', $port{in}, 'status'))[0], 0, 'status: running');
    is(($gp->tool('gatepost', 'service', $port{in}, 'stop'))[0], 0, 'stop');
    is(greeting(2025), '', 'refuses connections');
    is(($gp->tool('gatepost', 'service', $port{in}, 'status'))[0], 3, 'status: stopped');
    is(($gp->tool('gatepost', 'status'))[0], 1, 'status of the whole');
    is(greeting(2587), $hello, 'other ports go on');
    $sink->start;
    ok(wait_until(20, sub { grep { $_->{rcpts}[0] eq 'a6@far.test' } $sink->messages }), 'the queue too');
    is(($gp->tool('gatepost', 'service', $port{in}, 'start'))[0], 0, 'start');
    is(greeting(2025), $hello, 'serves again');
};

subtest 'A7: HELO name' => sub {
    my $helo = sub {
        my ($rcpt) = @_;
        session($port{in}, '127.0.0.9')->mail('s@far.test', $rcpt, $small);
        my $m = wait_until(20, sub { (grep { $_->{rcpts}[0] eq $rcpt } $sink->messages)[0] });
        return $m && $m->{helo};
    };
    is($helo->('a71@far.test'), 'mx.example', 'not set: our own');
    $gp->set(smtp_helo_name => 'out.example')->reload;
    is($helo->('a72@far.test'), 'out.example', 'as it is set');
    $gp->set(smtp_helo_name => '')->reload;
    is($helo->('a73@far.test'), 'mx.example', 'blank: our own');
};

subtest 'A2, A4, A5: who answers where' => sub {
    is(greeting(2027, '127.0.0.2'), $hello, 'A4: a port at a name');
    is(greeting(2027), '', 'at its address alone');
    $gp->set(master_service_disable => '2587/inet')->reload;
    is(greeting(2587), '', 'A2: disabled');
    is(greeting(2025), $hello, 'the other one is not');
    @{ $gp->{services} } = map { s/^2025 .*/2025 inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes/r } grep { !/^2587 / } @{ $gp->{services} };
    $gp->set(master_service_disable => undef)->reload;
    my $c = session(2025);
    is(rcpt($c, 'u@local.test'), 250, 'A2: on the inbound port: strangers may send to us');
    is(rcpt($c, 'x@far.test'), 554, 'not elsewhere');
    is(plain($c, 'joe', 'secret')->{code}, 235, 'AUTH');
    is(rcpt($c, 'x@far.test'), 250, 'after it, elsewhere too');
    @{ $gp->{services} } = grep { !/^second/ } @{ $gp->{services} };
    for my $row (
        # inet_interfaces, inet_protocols, who answers
        ['second.example', 'ipv4', '127.0.0.2'], ['127.0.0.2, 127.0.0.3', 'ipv4', '127.0.0.2 127.0.0.3'],
        ['all', 'ipv4', '127.0.0.1 127.0.0.2 127.0.0.3'], ['all', 'all', '127.0.0.1 127.0.0.2 127.0.0.3 ::1'],
    ) {
        my ($interfaces, $protocols, $want) = @$row;
        $gp->set(inet_interfaces => $interfaces, inet_protocols => $protocols)->restart;
        is(join(' ', grep { greeting(2025, $_) eq $hello } qw(127.0.0.1 127.0.0.2 127.0.0.3 ::1)), $want, "A4, A5: $interfaces, $protocols");
    }
};
$gp->stop;
done_testing;
