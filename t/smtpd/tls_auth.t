#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What TLS proves of a client: AUTH bound to it (SCRAM-SHA-256-PLUS) and by its certificate (EXTERNAL),
# by vault and by Dovecot; restrictions by certificate; what policy servers are told; how many new
# sessions a client may begin (E9).
use strict;
use warnings;
use Digest::SHA qw(sha256);
use Gatepost::Certs;
use Gatepost::Dovecot;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Policy;
use Gatepost::Sasl;
use Gatepost::Smtp;
use Gatepost::Tables;
use Gatepost::Tls;
use MIME::Base64 qw(decode_base64);
use Test::More;

need('openssl');
my $dir = tempdir('tls');
my $certs = Gatepost::Certs->new;
my $mx = $certs->make('mx', type => 'rsa:2048', names => ['mx.example']);
my %client = map { $_->[0] => $certs->make($_->[0], cn => $_->[1], client => 1, %{ $_->[2] // {} }) }
    ['joe', 'Joe@Local.test'], ['ann', 'ann'], ['nobody', 'nobody'], ['self', 'joe@local.test', { by => 'self' }],
    ['expired', 'joe@local.test', { expired => 1 }];
my $logins = table('hash', "$dir/logins", join '', map {"$_\@local.test " . scram_record("$_-secret") . "\n"} qw(joe ann));
my %print = map { $_ => $certs->fingerprint($client{$_}{cert}) } keys %client;
my $relay = table('hash', "$dir/relay", "$print{ann} ann\n$print{self} self\n");
my $access = table('hash', "$dir/access", "$print{joe} REJECT not you\n$print{nobody} OK\n");
my $policy = Gatepost::Policy->new(answer => sub {"action=DUNNO\n\n"});
my %port = map { $_ => free_port() } qw(filtered bare certs all access plain rate policy dovecot);
# It knows the password for sessions that are secured alone.
spew("$dir/userssecured", "joe\@local.test:{PLAIN}joe-secret::::::\n");
my $dovecot = Gatepost::Dovecot->new(users => {}, mechanisms => 'plain external',
    config => "auth_ssl_username_from_cert = yes\npassdb {\n  driver = passwd-file\n  mechanisms = plain\n  args = $dir/users%c\n}\n"
        . "passdb {\n  driver = static\n  mechanisms = external\n  args = nopassword=y\n}\n");
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_tls_security_level => 'may', smtpd_tls_chain_files => $mx->{both}, smtpd_tls_ask_ccert => 'yes',
        smtpd_tls_CAfile => $certs->ca, smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table',
        smtpd_sasl_password_maps => $logins, smtpd_sasl_local_domain => 'local.test', mynetworks => '192.0.2.1',
        smtpd_recipient_restrictions => '', smtpd_relay_restrictions => 'permit_sasl_authenticated, reject_unauth_destination',
        relay_clientcerts => $relay, smtpd_sasl_mechanism_filter => 'static:all', default_transport => 'discard',
        smtpd_error_sleep_time => 0, smtpd_hard_error_limit => 100, smtpd_client_event_limit_exceptions => '',
        smtpd_tls_fingerprint_digest => 'sha256', anvil_rate_time_unit => '1h',
    },
    master => [
        "$port{filtered} inet n - n - - smtpd -o { smtpd_sasl_mechanism_filter = !external, !scram-sha-256-plus, static:all }",
        "$port{certs} inet n - n - - smtpd -o { smtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination }",
        "$port{all} inet n - n - - smtpd -o { smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination }",
        "$port{access} inet n - n - - smtpd -o { smtpd_relay_restrictions = check_ccert_access $access, reject_unauth_destination }",
        "$port{plain} inet n - n - - smtpd -o { smtpd_recipient_restrictions = reject_plaintext_session, permit }"
            . ' -o { smtpd_relay_restrictions = check_client_access static:OK, reject }',
        "$port{policy} inet n - n - - smtpd -o { smtpd_relay_restrictions = check_policy_service " . $policy->spec . ', reject }',
        "$port{dovecot} inet n - n - - smtpd -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=" . $dovecot->socket,
        "$port{rate} inet n - n - - smtpd -o smtpd_client_new_tls_session_rate_limit=2",
        "$port{bare} inet n - n - - smtpd -o smtpd_client_new_tls_session_rate_limit=2 -o smtpd_tls_wrappermode=yes",
    ],
);
$gp->start;

sub session { my $c = Gatepost::Smtp->new(port => $_[0] // $gp->port) or return; $c->hello ? $c : undef }

sub inside {
    my ($port, $who, @args) = @_;
    my $c = session($port) or return;
    my @cert = $who ? ('-cert', $client{$who}{cert}, '-key', $client{$who}{key}) : ();
    my $t = starttls($c, @cert, @args) or return;
    return $t->ehlo ? $t : undef;
}

sub rcpt {
    my ($t) = @_;
    $t->cmd('MAIL FROM:<s@x.test>');
    my $r = $t->cmd('RCPT TO:<u@far.test>');
    $t->cmd('RSET');
    return $r;
}

my $der = $certs->_openssl('x509', '-in', $mx->{cert}, '-outform', 'DER');
my %binding = ('tls-exporter' => sub { $_[0]{export} }, 'tls-server-end-point' => sub { sha256($der) });

subtest 'SCRAM-SHA-256-PLUS' => sub {
    my $c = session();
    unlike($c->{ehlo}{AUTH}, qr/PLUS|EXTERNAL/, 'not offered in clear');
    $c->cmd('AUTH SCRAM-SHA-256-PLUS', qr/^535 5\.7\.8 Error: authentication failed: Invalid authentication mechanism/);
    is(inside()->{ehlo}{AUTH}, 'SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN', 'offered inside');
    # An exporter binds with TLS 1.3 alone (RFC 9266, 4.2, without an extended master secret).
    my %good = (tls1_2 => ['tls-server-end-point'], tls1_3 => [sort keys %binding]);
    for my $version (sort keys %good) {
        for my $type (@{ $good{$version} }) {
            my $t = inside(undef, undef, "-$version") or fail("$version: " . tls_error()), next;
            my $r = scram($t, 'joe', 'joe-secret', undef, bind => [$type, $binding{$type}->($t)]);
            is($r->{code}, 235, "$version, $type") or diag $r->{text};
            ok($r->{signed}, 'and the server has proved itself') if $r->{code} == 235;
        }
    }
    my $t = inside(undef, undef, '-tls1_2');
    is(scram($t, 'joe', 'joe-secret', undef, bind => ['tls-exporter', $t->{export}])->{code}, 535, 'not with TLS 1.2');
    $t = inside();
    is(scram($t, 'joe', 'wrong', undef, bind => ['tls-exporter', $t->{export}])->{code}, 535, 'a wrong password');
    is(scram($t, 'joe', 'joe-secret', undef, bind => ['tls-exporter', 'x' x 32])->{code}, 535, 'a session of two halves');
    is(scram($t, 'joe', 'joe-secret', undef, bind => ['tls-unique', 'x'])->{text},
        '535 5.7.8 Error: authentication failed: no such channel binding', 'another binding');
    is(scram($t, 'joe', 'joe-secret', undef, flag => 'y')->{text},
        '535 5.7.8 Error: authentication failed: the list of mechanisms was changed on its way', 'a downgrade');
    is(scram($t, 'joe', 'joe-secret')->{code}, 235, 'a client that cannot');
    $t = inside($port{filtered});
    is($t->{ehlo}{AUTH}, 'SCRAM-SHA-256 PLAIN LOGIN', 'smtpd_sasl_mechanism_filter');
    is(scram($t, 'joe', 'joe-secret', undef, flag => 'y')->{code}, 235, 'no downgrade where none is offered');
};

subtest 'EXTERNAL' => sub {
    for my $who (undef, 'self', 'expired') {
        my $t = inside(undef, $who);
        my $name = $who // 'no certificate';
        unlike($t->{ehlo}{AUTH}, qr/EXTERNAL/, "$name: not offered");
        is($t->cmd('AUTH EXTERNAL =')->{code}, 535, 'nor taken');
    }
    my $t = inside(undef, 'joe');
    like($t->{ehlo}{AUTH}, qr/ EXTERNAL /, 'offered to a certificate that is trusted');
    is($t->cmd('AUTH EXTERNAL ' . b64('ann@local.test'))->{text},
        '535 5.7.8 Error: authentication failed: no name of the certificate is a login', 'as somebody else');
    is($t->cmd('AUTH EXTERNAL =')->{code}, 235, 'a name of the certificate');
    is(rcpt($t)->{code}, 250, 'may relay');
    $t->cmd('MAIL FROM:<s@x.test>', 250);
    $t->cmd('RCPT TO:<u@far.test>', 250);
    $gp->wait_log(qr/sasl_method=EXTERNAL, sasl_username=joe\@local\.test$/);
    $t = inside(undef, 'ann');
    $t->cmd('AUTH EXTERNAL', qr/^334 $/);
    is($t->cmd(b64('ann'))->{code}, 235, 'without initial response, with authzid and smtpd_sasl_local_domain');
    $t = inside(undef, 'nobody');
    is($t->cmd('AUTH EXTERNAL =')->{code}, 535, 'a name that no table has');
    $t = inside($port{filtered}, 'joe');
    unlike($t->{ehlo}{AUTH}, qr/EXTERNAL/, 'off by default');
};

subtest 'by Dovecot' => sub {
    # From another address: Dovecot takes a session within one host for a safe one.
    my $c = Gatepost::Smtp->new(port => $port{dovecot}, from => '127.0.0.2');
    $c->hello;
    isnt(plain($c, 'joe@local.test', 'joe-secret')->{code}, 235, 'in clear');
    my $t = starttls($c) or return fail tls_error();
    $t->ehlo;
    is(plain($t, 'joe@local.test', 'joe-secret')->{code}, 235, 'it is told that the session is secured');
    unlike($t->{ehlo}{AUTH}, qr/EXTERNAL/, 'no EXTERNAL without a certificate');
    $t = inside($port{dovecot}, 'joe');
    like($t->{ehlo}{AUTH}, qr/EXTERNAL/, 'but with one');
    my $r = $t->cmd('AUTH EXTERNAL =');
    is($r->{code}, 235, 'EXTERNAL') or diag $r->{text}, $dovecot->log;
    rcpt($t);
    $t->cmd('MAIL FROM:<s@x.test>');
    $t->cmd('RCPT TO:<u@far.test>', 250);
    $gp->wait_log(qr/sasl_method=EXTERNAL, sasl_username=joe\@local\.test$/);
};

subtest 'restrictions by certificate' => sub {
    my @rows = (['certs', undef, 554], ['certs', 'joe', 554], ['certs', 'ann', 250], ['certs', 'self', 250],
        ['all', undef, 554], ['all', 'joe', 250], ['all', 'nobody', 250], ['all', 'self', 250], ['all', 'expired', 554],
        ['access', 'nobody', 250], ['access', 'ann', 554], ['plain', undef, 250]);
    for my $row (@rows) {
        my ($port, $who, $code) = @$row;
        my $t = inside($port{$port}, $who) or fail("$port: " . tls_error()), next;
        is(rcpt($t)->{code}, $code, "$port: " . ($who // 'no certificate'));
    }
    like(rcpt(inside($port{access}, 'joe'))->{text}, qr/^554 5\.7\.1 <joe\@Local\.test>|^554 5\.7\.1 .*not you$/i, 'check_ccert_access');
    my $c = session($port{plain});
    is(rcpt($c)->{text}, '450 4.7.1 Session encryption is required', 'reject_plaintext_session');
};

subtest 'a policy server' => sub {
    my $t = inside($port{policy}, 'joe', '-servername', 'mx.example') or return fail tls_error();
    rcpt($t);
    $t = inside($port{policy}, 'self');
    rcpt($t);
    rcpt(session($port{policy}));
    my @r = $policy->requests;
    is(scalar @r, 3, 'was asked');
    my %want = (encryption_protocol => 'TLSv1.3', encryption_cipher => 'TLS_AES_256_GCM_SHA384', encryption_keysize => 256,
        ccert_subject => 'Joe@Local.test', ccert_issuer => 'Test+20Authority', ccert_fingerprint => $print{joe});
    is($r[0]{$_}, $want{$_}, "$_ of a trusted one") for sort keys %want;
    like($r[0]{ccert_pubkey_fingerprint}, qr/^[0-9A-F:]{95}$/, 'ccert_pubkey_fingerprint');
    is($r[1]{ccert_subject}, '', 'names of one that is not trusted are not told');
    is($r[1]{ccert_fingerprint}, $print{self}, 'its fingerprint is');
    is($r[2]{$_}, $_ eq 'encryption_keysize' ? 0 : '', "$_ in clear") for sort keys %want;
};

subtest 'E9: new TLS sessions' => sub {
    my $sess = "$dir/session";
    my $t = inside($port{rate}, undef, '-sess_out', $sess) or return fail tls_error();
    $t->cmd('QUIT');
    # It writes the file anew with each ticket, the last time before it ends.
    $t->at_eof;
    wait_until(5, sub { (slurp($sess) // '') =~ /^-----END/m });
    $t = inside($port{rate}, undef, '-sess_in', $sess) or return fail tls_error();
    is($t->{tls}{reused}, 1, 'a session is resumed, which counts nothing');
    ok(inside($port{rate}), 'the second one');
    my $c = session($port{rate});
    $c->cmd('STARTTLS', qr/^454 4\.7\.0 Error: too many new TLS sessions from 127\.0\.0\.1$/);
    $gp->wait_log(qr/warning: New TLS session rate limit exceeded: 3 from unknown\[127\.0\.0\.1\] for service $port{rate}$/);
    $c->cmd('NOOP', 250);
    my $other = Gatepost::Smtp->new(port => $port{rate}, from => '127.0.0.2');
    ok($other->hello && starttls($other), 'another client may');
    tls(Gatepost::Smtp->new(port => $port{bare}))->expect(220, 'TLS from connect') for 1, 2;
    ok(!tls(Gatepost::Smtp->new(port => $port{bare})), 'the third is dropped');
    is(session($port{rate})->cmd('STARTTLS')->{code}, 454, 'and each port counts for itself');
};

$gp->stop;
done_testing;
