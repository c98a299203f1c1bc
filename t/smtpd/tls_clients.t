#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Mail clients and servers of others over TLS into smtpd: swaks, curl, posttls-finger, Postfix, Exim (which
# has GnuTLS), with levels of their own; certificates by SNI name.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sasl;
use Gatepost::Smtp;
use Gatepost::Tables;
use Gatepost::Tls;
use Test::More;

need(qw(openssl swaks curl));
my $dir = tempdir('tls');
my $certs = Gatepost::Certs->new;
my %chain = map { $_->[0] => $certs->make($_->[0], type => $_->[1], names => $_->[2], by => 'intermediate', @$_[3 .. $#$_]) }
    ['rsa', 'rsa:2048', ['mx.example']], ['ec', 'ec', ['mx.example']], ['one', 'ec', ['one.test']],
    ['two', 'ed25519', ['*.two.test']], ['expired', 'ec', ['mx.example'], expired => 1];
my $ca = $certs->ca;
chmod 0755, $certs->dir;
my $logins = table('hash', "$dir/logins", 'joe@local.test ' . scram_record('joe-secret') . "\n");
spew("$dir/sni", "one.test $chain{one}{both}\n.two.test $chain{two}{both}\n");
is(system(build() . '/sbin/gatemap', '-F', "hash:$dir/sni"), 0, 'gatemap -F');
my %port = map { $_ => free_port() } qw(wrap encrypt expired sni auth);
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_tls_security_level => 'may', smtpd_tls_chain_files => "$chain{rsa}{both}, $chain{ec}{both}",
        smtpd_tls_loglevel => 1, smtpd_tls_received_header => 'yes', smtpd_sasl_auth_enable => 'yes',
        smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $logins, smtpd_sasl_local_domain => 'local.test',
        smtpd_tls_auth_only => 'yes', smtpd_data_restrictions => 'check_client_access static:HOLD',
    },
    master => [
        "$port{wrap} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes",
        "$port{encrypt} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt",
        "$port{expired} inet n - n - - smtpd -o smtpd_tls_chain_files=$chain{expired}{both}",
        "$port{sni} inet n - n - - smtpd -o tls_server_sni_maps=hash:$dir/sni",
        "$port{auth} inet n - n - - smtpd -o { smtpd_client_restrictions = permit_sasl_authenticated, reject }"
            . ' -o { smtpd_recipient_restrictions = permit_sasl_authenticated, reject }',
    ],
);
$gp->start;
ok(wait_until(10, sub { my $c = $gp->session; $c && starttls($c) }), 'TLS is there');

# The protocol in Received: of the next message that is held.
my %known;
sub next_protocol {
    my $id = wait_until(20, sub { (grep { !$known{$_} } map {s{.*/}{}r} glob $gp->queue . '/hold/*/*')[0] }) or return 'no message';
    $known{$id} = 1;
    my $out = wait_until(10, sub { my ($status, $text) = $gp->tool('gateq', 'cat', $id); $status ? undef : $text }) // '';
    return $out =~ /^\tby \S+ \(.*?\) with (\S+) id $id/m ? $1 : "none in: $out";
}

subtest 'swaks' => sub {
    my @common = ('--from', 'a@x.test', '--to', 'b@y.test', '--silent', '3');
    run_ok('STARTTLS', 'swaks', '--server', '127.0.0.1:' . $gp->port, '--tls', @common);
    is(next_protocol(), 'ESMTPS', 'ESMTPS');
    run_ok('TLS from connect', 'swaks', '--server', "127.0.0.1:$port{wrap}", '--tls-on-connect', @common);
    is(next_protocol(), 'ESMTPS', 'ESMTPS');
    run_ok('the certificate is good', 'swaks', '--server', '127.0.0.1:' . $gp->port, '--tls', '--tls-verify',
        '--tls-ca-path', $ca, @common);
    is(next_protocol(), 'ESMTPS', 'ESMTPS');
    for my $method (qw(PLAIN LOGIN)) {
        run_ok("AUTH $method", 'swaks', '--server', "127.0.0.1:$port{auth}", '--tls', '--auth', $method, '--auth-user', 'joe',
            '--auth-password', 'joe-secret', @common);
        is(next_protocol(), 'ESMTPSA', 'ESMTPSA');
    }
    my ($status) = run_out('swaks', '--server', "127.0.0.1:$port{auth}", '--auth', 'PLAIN', '--auth-user', 'joe',
        '--auth-password', 'joe-secret', @common);
    isnt($status, 0, 'no AUTH in clear');
    ($status) = run_out('swaks', '--server', "127.0.0.1:$port{encrypt}", @common);
    isnt($status, 0, 'level encrypt: nothing in clear');
};

subtest 'curl' => sub {
    spew("$dir/mail", "Subject: by curl\r\n\r\nx\r\n");
    my @common = ('--mail-from', 'a@x.test', '--mail-rcpt', 'b@y.test', '-T', "$dir/mail", '-sS', '--cacert', $ca);
    my @at = map {"mx.example:$_:127.0.0.1"} $gp->port, values %port;
    my @resolve = map { ('--resolve', $_) } @at;
    run_ok('STARTTLS', 'curl', '--ssl-reqd', @resolve, '--url', 'smtp://mx.example:' . $gp->port, @common);
    is(next_protocol(), 'ESMTPS', 'ESMTPS');
    run_ok('TLS from connect', 'curl', @resolve, '--url', "smtps://mx.example:$port{wrap}", @common);
    is(next_protocol(), 'ESMTPS', 'ESMTPS');
    run_ok('AUTH', 'curl', '--ssl-reqd', @resolve, '--url', "smtp://mx.example:$port{auth}", '--user', 'joe:joe-secret', @common);
    is(next_protocol(), 'ESMTPSA', 'ESMTPSA');
    my ($status) = run_out('curl', '--ssl-reqd', @resolve, '--url', "smtp://mx.example:$port{expired}", @common);
    is($status, 60, 'an expired certificate is seen');
    ($status) = run_out('curl', '--ssl-reqd', '--url', 'smtp://127.0.0.1:' . $gp->port, @common);
    is($status, 60, 'and one of another name');
    ($status) = run_out('curl', '--ssl-reqd', '--tls-max', '1.1', @resolve, '--url', 'smtp://mx.example:' . $gp->port, @common);
    isnt($status, 0, 'TLS 1.1 is refused');
};

subtest 'SNI' => sub {
    my %want = (undef => 'mx.example', 'one.test' => 'one.test', 'a.two.test' => '*.two.test', 'ONE.test' => 'one.test',
        'nobody.test' => 'mx.example', 'two.test' => 'mx.example');
    for my $name (sort keys %want) {
        my $c = Gatepost::Smtp->new(port => $port{sni}) or return fail 'session';
        $c->hello;
        $gp->mark;
        my $t = starttls($c, $name eq 'undef' ? '-noservername' : ('-servername', $name)) or fail("$name: " . tls_error()), next;
        is($t->{tls}{subject}, "CN = $want{$name}", $name);
        my $to = $want{$name} eq 'mx.example' ? '' : ' to ' . lc $name;
        $gp->wait_log(qr/TLS connection established from unknown\[127\.0\.0\.1\]\Q$to\E: /);
    }
};

my $peers = Gatepost::Peers->postfix(
    main => {
        smtp_tls_security_level => 'may', smtp_tls_CAfile => $ca, smtp_tls_loglevel => 1, mydestination => '',
        smtp_connection_cache_on_demand => 'no', smtp_tls_session_cache_database => '',
        transport_maps => 'inline:{' . join(', ', map {"{$_->[0].test=$_->[1]:[127.0.0.1]:$_->[2]}"} ['may', 'smtp', $gp->port],
            ['encrypt', 'smtp', $port{encrypt}], ['verify', 'smtp', $port{auth}], ['wrong', 'smtp', $port{sni}],
            ['expired', 'smtp', $port{expired}], ['wrap', 'smtps', $port{wrap}]) . '}',
        smtp_tls_policy_maps => 'inline:{' . join(', ', map {"{[127.0.0.1]:$_->[0]=$_->[1]}"} [$port{encrypt}, 'encrypt'],
            [$port{auth}, 'verify match=mx.example'], [$port{sni}, 'verify match=other.example'],
            [$port{expired}, 'verify match=mx.example']) . '}',
    },
    services => ['smtps unix - - n - - smtp -o smtp_tls_wrappermode=yes -o smtp_tls_security_level=encrypt'],
);

subtest 'posttls-finger' => sub {
    my @rows = (['may', $gp->port, 'Untrusted', 'may'], ['encrypt', $port{encrypt}, 'Untrusted', 'encrypt'],
        ['verify', $gp->port, 'Verified', 'verify', '-F', $ca], ['secure', $gp->port, 'Verified', 'secure', '-F', $ca],
        ['fingerprint', $port{wrap}, 'Verified', 'fingerprint', '-w', '-d', 'sha256'], ['expired', $port{expired}, 'Untrusted', 'verify', '-F', $ca]);
    for my $row (@rows) {
        my ($name, $port, $word, $level, @args) = @$row;
        # Its fingerprint depends on which of our two certificates its list of algorithms prefers.
        my @match = $level eq 'fingerprint' ? map { $certs->fingerprint($chain{$_}{cert}) } qw(rsa ec)
            : $level =~ /verify|secure/ ? 'mx.example' : ();
        my ($status, $out) = run_out('chroot', $peers->{root}, 'env', "MAIL_CONFIG=$peers->{dir}/etc", 'posttls-finger', '-c', '-L', 'summary', '-l', $level, @args,
            "[127.0.0.1]:$port", @match);
        like($out, qr/$word TLS connection established to 127\.0\.0\.1\S*: TLSv1\.3/, $name) or diag $out;
    }
};

subtest 'Postfix' => sub {
    my %want = (may => qr/sent/, encrypt => qr/sent/, wrap => qr/sent/, verify => qr/sent|bounced/, wrong => qr/deferred/, expired => qr/deferred/);
    for my $level (sort keys %want) {
        my $c = Gatepost::Smtp->new(port => $peers->port);
        $c->hello;
        is($c->mail('a@x.test', "b\@$level.test", "Subject: x\r\n\r\nx\r\n")->{code}, 250, "$level: taken");
        ok(wait_until(30, sub { $peers->log =~ /to=<b\@\Q$level\E\.test>.*status=(\w+) \((.*)\)/ }), "$level: tried");
        my ($status, $why) = $peers->log =~ /to=<b\@\Q$level\E\.test>.*status=(\w+) \((.*)\)/;
        like($status // '', $want{$level}, "$level: $status") or diag $why;
        is(next_protocol(), 'ESMTPS', "$level: arrives") if ($status // '') eq 'sent';
    }
    like($peers->log, qr/Verified TLS connection established to 127\.0\.0\.1\[127\.0\.0\.1\]:$port{auth}: TLSv1\.3/, 'it has verified us');
};

subtest 'Exim' => sub {
    my $exim = Gatepost::Peers->exim(domains => [], relayhost => '127.0.0.1::' . $port{encrypt});
    my $c = Gatepost::Smtp->new(port => $exim->port);
    $c->hello;
    is($c->mail('a@x.test', 'b@far.test', "Subject: x\r\n\r\nx\r\n")->{code}, 250, 'taken');
    is(next_protocol(), 'ESMTPS', 'arrives');
    ok(wait_until(20, sub { $exim->log =~ /=> b\@far\.test.* X=TLS1\.3:/ }), 'by TLS 1.3') or diag $exim->log;
};

$gp->stop;
done_testing;
