#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Handshakes that are slow, broken off, or none: others are served meanwhile, each has its deadline and
# its line in the log. What stands before TLS from connect: a load balancer's header, the gate, limits.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Smtp;
use Gatepost::Tls;
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time);

need('openssl');
my $certs = Gatepost::Certs->new;
my $mx = $certs->make('mx', names => ['mx.example']);
my %port = map { $_ => free_port() } qw(wrap slow proxy greet limit ban);
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_tls_security_level => 'may', smtpd_tls_chain_files => $mx->{both}, default_transport => 'discard',
        smtpd_timeout => '300s', smtpd_starttls_timeout => '300s', session_limit => 1500,
    },
    master => [
        "$port{wrap} inet n - n - 3000 smtpd -o smtpd_tls_wrappermode=yes -o smtpd_starttls_timeout=60s",
        "$port{slow} inet n - n - - smtpd -o smtpd_starttls_timeout=1s",
        "$port{proxy} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_upstream_proxy_protocol=haproxy",
        "$port{greet} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_greet_wait=30s -o mynetworks=192.0.2.1"
            . ' -o { smtpd_relay_restrictions = check_client_access static:OK, reject } -o smtpd_recipient_restrictions=',
        "$port{ban} inet n - n - - smtpd -o smtpd_ban_errors=2 -o smtpd_ban_exempt_clients=",
        "$port{limit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_client_connection_count_limit=1"
            . ' -o smtpd_client_event_limit_exceptions=',
    ],
);
$gp->start;

sub raw { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0], Proto => 'tcp', Timeout => 10) }

# The first bytes of a ClientHello: a record that announces more than comes.
my $half_hello = "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" . 'x' x 40;

subtest 'a thousand half-open handshakes' => sub {
    my @half;
    for my $i (1 .. 1000) {
        my $s = raw($port{wrap}) or last;
        syswrite $s, $half_hello if $i % 2;
        push @half, $s;
    }
    is(scalar @half, 1000, 'are borne');
    my $begin = time;
    my $t = tls(Gatepost::Smtp->new(port => $port{wrap})) or return fail 'another client: ' . tls_error();
    $t->expect(220, 'and another client is served');
    ok($t->ehlo, 'wholly');
    cmp_ok(time - $begin, '<', 50, 'without waiting for them') or diag time - $begin;
    ok(!IO::Select->new(@half)->can_read(0), 'nobody else was told anything');
    close $_ for @half;
    ok($gp->session, 'then all is as before');
};

subtest 'deadline' => sub {
    my $c = Gatepost::Smtp->new(port => $port{slow}) or return fail 'session';
    $c->hello;
    my $begin = time;
    $c->cmd('STARTTLS', 220);
    $c->send($half_hello);
    is($c->reply->{text}, 'closed', 'closed without a word');
    cmp_ok(time - $begin, '>', 0.8, 'not before its time');
    $gp->wait_log(qr/SSL_accept error from unknown\[127\.0\.0\.1\]: Connection timed out$/);
    $gp->wait_log(qr/lost connection after STARTTLS from unknown\[127\.0\.0\.1\]$/);
};

subtest 'ends and garbage' => sub {
    my @rows = (
        ['nothing at all', '', qr/: lost connection$/], ['half of a record', $half_hello, qr/: lost connection$/],
        ['a web request', "GET / HTTP/1.0\r\n\r\n", qr/: -1$/], ['zeros', "\0" x 100, qr/: -1$/],
        ['a command', "EHLO x\r\n", qr/: -1$/], ['an alert', "\x15\x03\x03\x00\x02\x02\x28", qr/: (?:-1|lost connection)$/],
        ['SSLv2', "\x80\x2e\x01\x00\x02" . 'x' x 41, qr/: (?:-1|lost connection)$/], ['random bytes', pack('C*', map { int rand 256 } 1 .. 5000), qr/: (?:-1|lost connection)$/]);
    for my $row (@rows) {
        my ($name, $bytes, $log) = @$row;
        my $c = $gp->session or return fail 'session';
        $gp->mark;
        $c->cmd('STARTTLS', 220);
        $c->send($bytes);
        shutdown $c->sock, 1;
        $gp->wait_log(qr/SSL_accept error from unknown\[127\.0\.0\.1\]$log/, $name);
        $gp->wait_log(qr/disconnect from unknown\[127\.0\.0\.1\] ehlo=1 starttls=0\/1 commands=1\/2$/);
        my $rest = '';
        1 while sysread $c->sock, $rest, 1000, length $rest;
        unlike($rest, qr/^\d{3}[ -]/m, 'no reply in clear');
    }
};

subtest 'handshakes that are none count for a ban' => sub {
    for (1, 2) {
        my $c = Gatepost::Smtp->new(port => $port{ban}, from => '127.0.0.5') or return fail 'session';
        $c->hello;
        $c->cmd('STARTTLS', 220);
        $c->send("EHLO x\r\n");
        $c->at_eof;
    }
    my $c = wait_until(10, sub {
        my $s = Gatepost::Smtp->new(port => $port{ban}, from => '127.0.0.5');
        $s->reply->{text} =~ /^421 4\.7\.0 .* is banned for now/;
    });
    ok($c, 'at connect');
    ok(Gatepost::Smtp->new(port => $port{ban}, from => '127.0.0.6')->hello, 'nobody else');
};

subtest 'vault is killed' => sub {
    my $t = starttls($gp->session) or return fail 'handshake: ' . tls_error();
    $gp->kill_role('vault');
    $t->cmd('NOOP', 250, 'a session goes on');
    my $late = $gp->session;
    $late->{timeout} = 20;
    # Its handshake waits for a new vault, or fails; the chains are known still.
    $late->cmd('STARTTLS', 220);
    ok(wait_until(15, sub { my $s = $gp->session; $s && starttls($s) }), 'and new ones begin again');
    $t->cmd('EHLO x', 250, 'the first one goes on');
};

subtest 'a load balancer before TLS' => sub {
    for my $header ("PROXY TCP4 192.0.2.7 192.0.2.8 4711 465\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" . pack('C4 C4 n n', 192, 0, 2, 7, 192, 0, 2, 8, 4711, 465)) {
        $gp->mark;
        my $c = Gatepost::Smtp->new(port => $port{proxy}) or return fail 'session';
        # In one piece with the handshake, as it comes from such a thing.
        my $t = tls($c, { before => $header }) or fail('handshake: ' . tls_error()), next;
        $t->expect(220);
        $t->cmd('EHLO x', 250);
        $gp->wait_log(qr/connect from unknown\[192\.0\.2\.7\]/);
    }
};

subtest 'the gate, and limits' => sub {
    my $begin = time;
    my $t = tls(Gatepost::Smtp->new(port => $port{greet})) or return fail 'handshake: ' . tls_error();
    $t->expect(220, 'no greet wait where the client speaks first');
    cmp_ok(time - $begin, '<', 29, 'it is served at once');
    ok(!$gp->log_lines(qr/PREGREET/), 'its handshake is no early talk');
    my $first = tls(Gatepost::Smtp->new(port => $port{limit})) or return fail 'handshake: ' . tls_error();
    $first->expect(220);
    my $second = Gatepost::Smtp->new(port => $port{limit}) or return fail 'second';
    is($second->reply->{text}, 'closed', 'one too many is told nothing in clear');
    $gp->wait_log(qr/Connection concurrency limit exceeded: 2 from unknown\[127\.0\.0\.1\]/);
};

is_deeply([grep {/panic|fatal|died|signal/} $gp->log_lines], [], 'nobody came to harm');
$gp->stop;
done_testing;
