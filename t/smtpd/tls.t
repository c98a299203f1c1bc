#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# TLS into smtpd: rows B1, B2, B6 and C2, each port with its own settings; what is taken in clear and
# what inside, what is forgotten between, what the log and Received: say.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Smtp;
use Gatepost::Tables;
use Gatepost::Tls;
use Test::More;

need('openssl');
my $dir = tempdir('tls');
my $certs = Gatepost::Certs->new;
my %chain = map { $_->[0] => $certs->make($_->[0], type => $_->[1], names => ['mx.example'], by => 'intermediate') }
    ['rsa', 'rsa:2048'], ['ec', 'ec'], ['ed', 'ed25519'];
my $all = join ', ', map { $chain{$_}{both} } qw(rsa ec ed);
my %client = (
    good => $certs->make('good', cn => 'good (one)', client => 1),
    expired => $certs->make('expired', cn => 'expired', client => 1, expired => 1),
    self => $certs->make('self', cn => 'self', client => 1, by => 'self'),
);
my $logins = table('hash', "$dir/logins", 'joe@local.test ' . scram_record('joe-secret') . "\n");
my %port = map { $_ => free_port() } qw(none encrypt wrap bare rsa ask req never always strict tuned);
my $ca = $certs->ca;
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_tls_security_level => 'may', smtpd_tls_chain_files => $all, smtpd_tls_loglevel => 1,
        smtpd_tls_received_header => 'yes', smtpd_tls_CAfile => $ca, mynetworks => '192.0.2.1',
        smtpd_recipient_restrictions => '', smtpd_relay_restrictions => 'permit_sasl_authenticated, reject_unauth_destination',
        virtual_mailbox_domains => 'local.test', virtual_mailbox_maps => 'static:x',
        smtpd_data_restrictions => 'check_client_access static:HOLD',
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $logins,
        smtpd_sasl_local_domain => 'local.test', smtpd_error_sleep_time => 0, smtpd_hard_error_limit => 100,
        smtpd_tls_auth_only => 'yes',
    },
    master => [
        "$port{none} inet n - n - - smtpd -o smtpd_tls_security_level=none -o smtpd_tls_auth_only=no",
        "$port{encrypt} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=no",
        "$port{wrap} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes",
        "$port{bare} inet n - n - - smtpd -o smtpd_tls_chain_files=",
        "$port{rsa} inet n - n - - smtpd -o smtpd_tls_chain_files=$chain{rsa}{both} -o smtpd_tls_loglevel=0"
            . ' -o smtpd_tls_received_header=no -o smtpd_forbid_unauth_pipelining=no',
        "$port{ask} inet n - n - - smtpd -o smtpd_tls_ask_ccert=yes -o smtpd_tls_loglevel=2",
        "$port{req} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_req_ccert=yes",
        "$port{never} inet n - n - - smtpd -o smtpd_sasl_auth_enable=no",
        "$port{always} inet n - n - - smtpd -o smtpd_tls_auth_only=no",
        "$port{tuned} inet n - n - - smtpd -o tls_preempt_cipherlist=yes -o tls_eecdh_auto_curves=prime256v1"
            . ' -o smtpd_tls_session_cache_timeout=0s -o smtpd_tls_ciphers=high -o smtpd_tls_exclude_ciphers=CHACHA20'
            . ' -o requiretls_enable=no -o smtpd_discard_ehlo_keywords=starttls',
        "$port{strict} inet n - n - - smtpd -o smtpd_tls_protocols=TLSv1.3 -o { smtpd_sasl_security_options = noplaintext, noanonymous }"
            . ' -o smtpd_sasl_tls_security_options=noanonymous -o smtpd_tls_auth_only=no',
    ],
);
$gp->start;

sub session { Gatepost::Smtp->new(port => $_[0] // $gp->port) }
sub hello { my $c = session(@_) or return; $c->hello ? $c : undef }

# Inside of TLS, behind an EHLO there.
sub inside {
    my ($port, @args) = @_;
    my $c = hello($port) or return;
    my $t = starttls($c, @args) or return;
    return $t->ehlo ? $t : undef;
}

sub deliver {
    my ($t, $header, $mail) = @_;
    my $r = $t->mail('s@x.test', 'u@local.test', ($header // '') . "Subject: x\r\n\r\nx\r\n", mail => $mail);
    return $r->{text} =~ /queued as (\S+)/ ? $1 : undef;
}

# The queue knows of a message a moment after the client.
sub content {
    my ($id) = @_;
    return wait_until(10, sub { my ($status, $out) = $gp->tool('gateq', 'cat', $id); $status ? undef : $out }) // 'not there';
}

sub flags {
    my ($id) = @_;
    my $file = wait_until(10, sub { glob $gp->queue . "/hold/*/$id" }) or return 'not there';
    $file = substr $file, 1 + length $gp->queue;
    # It may be seen while it is written.
    my $out;
    wait_until(10, sub { (undef, $out) = run_out(build() . '/libexec/queue-dump', $gp->queue, $file); $out =~ /flags=/ });
    return $out =~ /flags=(0x[0-9a-f]+)/ ? hex $1 : "none in: $out";
}

subtest 'B1: STARTTLS' => sub {
    my $c = hello() or return fail 'session';
    ok(exists $c->{ehlo}{STARTTLS}, 'offered');
    ok(!exists $c->{ehlo}{$_}, "$_ is not, in clear") for qw(AUTH REQUIRETLS);
    $c->cmd('STARTTLS now', qr/^501 5\.5\.4 Syntax: STARTTLS$/);
    $c->cmd('MAIL FROM:<s@x.test> REQUIRETLS', qr/^555 5\.5\.4 Unsupported option: REQUIRETLS$/);
    my $t = starttls($c) or return fail 'handshake: ' . tls_error();
    is($t->{tls}{protocol}, 'TLSv1.3', 'the newest protocol');
    ok($t->ehlo, 'EHLO');
    ok(!exists $t->{ehlo}{STARTTLS}, 'not offered twice');
    ok(exists $t->{ehlo}{$_}, "$_ is, inside") for qw(AUTH REQUIRETLS);
    $t->cmd('STARTTLS', qr/^554 5\.5\.1 Error: TLS already active$/);
    ok(my $id = deliver($t), 'a message');
    $t->cmd('QUIT', 221);
    $gp->wait_log(qr/smtpd\[\d+\]: Anonymous TLS connection established from unknown\[127\.0\.0\.1\]: TLSv1\.3 with cipher TLS_AES_256_GCM_SHA384 \(256\/256 bits\) key-exchange X25519 server-signature \S+ (?:\(\S+( bits)?\) )?server-digest SHA/);
    $gp->wait_log(qr/disconnect from unknown\[127\.0\.0\.1\] ehlo=2 starttls=1\/3 mail=1\/2 rcpt=1 data=1 quit=1 commands=7\/10$/);
    like(content($id), qr/^Received: from client\.example \(unknown \[127\.0\.0\.1\]\)\r?\n\t\(using TLSv1\.3 with cipher TLS_AES_256_GCM_SHA384 \(256\/256 bits\)\r?\n\t key-exchange X25519 server-signature \S+ .*server-digest SHA\d+\)\r?\n\t\(No client certificate requested\)\r?\n\tby mx\.example \(Gatepost\) with ESMTPS id $id\r?\n/m, 'Received:');
};

subtest 'B1: not there' => sub {
    my $c = hello($port{none}) or return fail 'session';
    ok(!exists $c->{ehlo}{STARTTLS}, 'level none: not offered');
    $c->cmd('STARTTLS', qr/^502 5\.5\.1 Error: command not implemented$/);
    $c = hello($port{bare}) or return fail 'session';
    ok(!exists $c->{ehlo}{STARTTLS}, 'without a certificate: not offered');
    $c->cmd('STARTTLS', qr/^454 4\.7\.0 TLS not available due to local problem$/);
    is((grep {/No server certs available\. TLS can't be enabled/} $gp->log_lines) > 0, 1, 'and the log says so');
};

subtest 'level encrypt' => sub {
    my $c = hello($port{encrypt}) or return fail 'session';
    for my $line ('MAIL FROM:<a@x.test>', 'RCPT TO:<u@local.test>', 'DATA', 'RSET', 'VRFY u', 'AUTH PLAIN AGEAYg==',
        'ETRN local.test', 'BDAT 0 LAST', 'HELP') {
        $c->cmd($line, qr/^530 5\.7\.0 Must issue a STARTTLS command first$/, $line);
    }
    $c->cmd('NOOP', 250);
    $c->cmd('EHLO again', 250);
    my $t = starttls($c) or return fail 'handshake';
    ok($t->ehlo && deliver($t), 'inside all is as ever');
    $c = hello($port{encrypt});
    $c->cmd('QUIT', 221);
};

subtest 'B2: TLS from connect' => sub {
    my $c = session($port{wrap}) or return fail 'session';
    $c->{timeout} = 0.3;
    is($c->reply->{text}, 'timed out', 'a plain client gets no greeting');
    $c->{timeout} = 20;
    $c->send("EHLO x\r\n");
    my $rest = '';
    1 while sysread $c->sock, $rest, 1000, length $rest;
    unlike($rest, qr/^[25]\d\d/m, 'nor any other reply');
    $gp->wait_log(qr/SSL_accept error from unknown\[127\.0\.0\.1\]: -1$/);
    $gp->wait_log(qr/warning: TLS library problem: error:0A00010B:SSL routines::wrong version number/);
    $gp->wait_log(qr/lost connection after CONNECT from unknown\[127\.0\.0\.1\]$/);
    my $t = tls(session($port{wrap})) or return fail 'handshake: ' . tls_error();
    $t->expect(qr/^220 mx\.example ESMTP/, 'the greeting is inside');
    ok($t->ehlo, 'EHLO');
    ok(!exists $t->{ehlo}{STARTTLS}, 'no STARTTLS');
    like(content(deliver($t) // ''), qr/with ESMTPS id/, 'a message');
    my $r = plain($t, 'joe', 'joe-secret');
    is($r->{code}, 235, 'AUTH');
    like(content(deliver($t) // ''), qr/with ESMTPSA id/, 'a message of a login');
};

# What was said in clear is gone (RFC 3207, 4.2).
subtest 'what is forgotten' => sub {
    my $c = hello($port{always}) or return fail 'session';
    is(plain($c, 'joe', 'joe-secret')->{code}, 235, 'a login in clear');
    $c->cmd('MAIL FROM:<s@x.test>', 250);
    $c->cmd('RCPT TO:<u@local.test>', 250);
    my $t = starttls($c) or return fail 'handshake';
    $t->cmd('RCPT TO:<v@local.test>', qr/^503 5\.5\.1 Error: need MAIL command$/);
    $t->cmd('DATA', 503);
    $t->cmd('MAIL FROM:<s@x.test>', 250);
    $t->cmd('RCPT TO:<u@far.test>', qr/^554 5\.7\.1 <u\@far\.test>: Relay access denied$/);
    $t->cmd('RSET', 250);
    like(content(deliver($t) // ''), qr/^Received: from unknown \(.*with SMTP id/ms, 'the name in EHLO, too');
    is(plain($t, 'joe', 'joe-secret')->{code}, 235, 'it may log in again');
};

subtest 'injected commands' => sub {
    my $c = hello() or return fail 'session';
    $c->send("STARTTLS\r\nMAIL FROM:<evil\@x.test>\r\nRCPT TO:<u\@local.test>\r\n");
    $c->expect(qr/^554 5\.5\.0 Error: SMTP protocol synchronization$/, 'end the session');
    is($c->reply->{text}, 'closed', 'and nothing else is said');
    $gp->wait_log(qr/improper command pipelining after STARTTLS from unknown\[127\.0\.0\.1\]: MAIL FROM:<evil\@x\.test>\\r\\nRCPT/);
    # Where such clients are borne, what they injected is dropped.
    $c = hello($port{rsa}) or return fail 'session';
    $c->send("STARTTLS\r\nMAIL FROM:<evil\@x.test>\r\nRCPT TO:<u\@local.test>\r\n");
    $c->expect(220);
    my $t = tls($c) or return fail 'handshake: ' . tls_error();
    $t->cmd('NOOP', qr/^250 2\.0\.0 Ok$/, 'the next reply is that of the next command');
    $t->cmd('DATA', qr/^503/, 'no transaction');
    $t->cmd('QUIT', 221);
};

subtest 'protocols' => sub {
    for my $v (qw(tls1 tls1_1)) {
        my $c = hello() or return fail 'session';
        $gp->mark;
        ok(!starttls($c, "-$v", '-cipher', 'ALL:@SECLEVEL=0'), "$v is refused");
        $gp->wait_log(qr/SSL_accept error from unknown\[127\.0\.0\.1\]: -1$/);
        $gp->wait_log(qr/TLS library problem: error:0A000102:SSL routines::unsupported protocol/);
        $gp->wait_log(qr/lost connection after STARTTLS from unknown\[127\.0\.0\.1\]$/);
        $gp->wait_log(qr/disconnect from unknown\[127\.0\.0\.1\] ehlo=1 starttls=0\/1 commands=1\/2$/);
    }
    my %want = (tls1_2 => 'TLSv1.2', tls1_3 => 'TLSv1.3');
    for my $v (sort keys %want) {
        my $t = inside(undef, "-$v") or return fail "$v: " . tls_error();
        is($t->{tls}{protocol}, $want{$v}, $v);
    }
    ok(!inside($port{strict}, '-tls1_2'), 'smtpd_tls_protocols = TLSv1.3: not TLS 1.2');
    ok(inside($port{strict}), 'but TLS 1.3');
};

subtest 'B6: several keys' => sub {
    my %want = (rsa => ['rsa_pss_rsae_sha256', qr/^RSA-PSS/], ec => ['ecdsa_secp256r1_sha256', qr/^ECDSA/],
        ed => ['ed25519', qr/^ed25519/i]);
    for my $version (qw(tls1_2 tls1_3)) {
        for my $kind (sort keys %want) {
            my $t = inside(undef, "-$version", '-sigalgs', $want{$kind}[0]) or fail("$version $kind: " . tls_error()), next;
            like($t->{tls}{key}, $want{$kind}[1], "$version $kind");
        }
    }
    my $t = inside($port{rsa}, '-CAfile', $ca, '-verify_return_error') or return fail 'rsa alone: ' . tls_error();
    is($t->{tls}{key}, 'RSA-PSS', 'a port with one key, whose chain is complete');
    ok(!inside($port{rsa}, '-sigalgs', 'ed25519'), 'has no other');
};

subtest 'client certificates' => sub {
    my %want = (none => ['Anonymous', '(Client did not present a certificate)'],
        good => ['Trusted', '(Client CN "good (one)", Issuer "Test Authority" (verified OK))'],
        expired => ['Untrusted', '(Client CN "expired", Issuer "Test Authority" (not verified))'],
        self => ['Untrusted', '(Client CN "self", Issuer "self" (not verified))']);
    for my $who (sort keys %want) {
        my @cert = $who eq 'none' ? () : ('-cert', $client{$who}{cert}, '-key', $client{$who}{key});
        $gp->mark;
        my $t = inside($port{ask}, @cert) or fail("$who: " . tls_error()), next;
        like(content(deliver($t) // ''), qr/^\t\Q$want{$who}[1]\E\r?$/m, "$who: Received:");
        $gp->wait_log(qr/\Q$want{$who}[0]\E TLS connection established from/, "$who: log");
        next if $who eq 'none';
        my $f = $certs->fingerprint($client{$who}{cert});
        $gp->wait_log(qr/unknown\[127\.0\.0\.1\]: subject_CN=\Q$who\E.*, issuer_CN=.*, fingerprint=$f, pkey_fingerprint=[0-9A-F:]{95}$/);
        my $r = $t->{tls}{protocol} eq 'TLSv1.3' ? 'client-signature ECDSA' : '';
        $gp->wait_log(qr/$r/);
    }
    for my $who (qw(none expired self)) {
        my @cert = $who eq 'none' ? () : ('-cert', $client{$who}{cert}, '-key', $client{$who}{key});
        my $what = $who eq 'none' ? 'No client certificate presented' : 'Client certificate not trusted';
        $gp->mark;
        my $t = starttls(hello($port{req}), @cert) or fail("$who: " . tls_error()), next;
        $t->cmd('EHLO x', qr/^421 4\.7\.1 mx\.example Error: $what$/, "required, $who");
        $gp->wait_log(qr/NOQUEUE: abort: TLS from unknown\[127\.0\.0\.1\]: $what$/);
    }
    my $t = inside($port{req}, '-cert', $client{good}{cert}, '-key', $client{good}{key});
    ok($t && deliver($t), 'required, and there');
};

subtest 'settings' => sub {
    my $c = hello($port{tuned}) or return fail 'session';
    ok(!exists $c->{ehlo}{STARTTLS}, 'smtpd_discard_ehlo_keywords');
    $c->cmd('STARTTLS', 502);
    my @order = ('-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384');
    is(inside(undef, @order)->{tls}{cipher}, 'ECDHE-ECDSA-AES128-GCM-SHA256', "the client's order of ciphers");
    $gp->{services} = [map {s/ -o smtpd_discard_ehlo_keywords=starttls//r} @{ $gp->{services} }];
    $gp->write_config;
    $gp->reload;
    my $t = wait_until(20, sub { my $s = hello($port{tuned}); exists $s->{ehlo}{STARTTLS} ? starttls($s, @order) : undef })
        or return fail 'handshake: ' . tls_error();
    is($t->{tls}{cipher}, 'ECDHE-ECDSA-AES256-GCM-SHA384', 'tls_preempt_cipherlist: the order of the server');
    my $sess = "$dir/session";
    $t = inside($port{tuned}, '-sess_out', $sess) or return fail 'handshake';
    like($t->{tls}{text}, qr/Server Temp Key: ECDH, prime256v1/, 'tls_eecdh_auto_curves');
    ok(!exists $t->{ehlo}{REQUIRETLS}, 'requiretls_enable');
    $t->cmd('QUIT', 221);
    ok(!-s $sess, 'smtpd_tls_session_cache_timeout = 0: no ticket');
    ok(!inside($port{tuned}, '-tls1_2', '-cipher', 'ECDHE-ECDSA-CHACHA20-POLY1305'), 'smtpd_tls_exclude_ciphers');
};

subtest 'C2: AUTH by port' => sub {
    for my $row (['never', undef, undef], ['always', 1, 1], [undef, undef, 1], ['none', 1, undef], ['encrypt', undef, 1]) {
        my ($name, $clear, $tls) = @$row;
        my $port = defined $name ? $port{$name} : $gp->port;
        $name //= 'only under TLS';
        my $c = hello($port) or return fail 'session';
        is(exists $c->{ehlo}{AUTH} ? 1 : undef, $clear, "$name: in clear");
        is(plain($c, 'joe', 'joe-secret')->{code} == 235 ? 1 : undef, $clear, "$name: and when it is tried");
        my $t = inside($port);
        is($t && exists $t->{ehlo}{AUTH} ? 1 : undef, $tls, "$name: inside") if $name ne 'none';
        is($t && plain($t, 'joe', 'joe-secret')->{code} == 235 ? 1 : undef, $tls, "$name: and when it is tried");
    }
    my $c = hello($port{strict});
    unlike($c->{ehlo}{AUTH}, qr/PLAIN/, 'noplaintext in clear alone: not offered there');
    like(inside($port{strict})->{ehlo}{AUTH}, qr/PLAIN/, 'but inside');
};

subtest 'REQUIRETLS and TLS-Required: no' => sub {
    my $t = inside() or return fail 'handshake';
    $t->cmd('MAIL FROM:<s@x.test> REQUIRETLS=1', 555);
    my %want = (plain => 0, must => 0x10, may => 0x1000, both => 0x10, yes => 0);
    my %id = (plain => deliver($t), must => deliver($t, '', 'REQUIRETLS'), may => deliver($t, "tls-required:  No\r\n"),
        both => deliver($t, "TLS-Required: no\r\n", 'REQUIRETLS'), yes => deliver($t, "TLS-Required: yes\r\n"));
    for my $name (sort keys %want) {
        my $flags = flags($id{$name} // '');
        is($flags =~ /^\d+$/ ? $flags & 0x1010 : $flags, $want{$name}, "$name: the envelope");
    }
};

is_deeply([grep {/panic|fatal/} $gp->log_lines], [], 'nothing of it was too much');
$gp->stop;
done_testing;
