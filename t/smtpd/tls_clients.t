#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Mail clients and servers of others over TLS into smtpd: swaks, curl, posttls-finger, Postfix, Exim (which
# has GnuTLS), OpenSMTPD, Dovecot's submission, with levels of their own; certificates by SNI name.
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
use MIME::Base64 ();
use Test::More;

need(qw(openssl swaks curl));
my $dir = tempdir('tls');
my $certs = Gatepost::Certs->new;
my %chain = map { $_->[0] => $certs->make($_->[0], type => $_->[1], names => $_->[2], by => 'intermediate', @$_[3 .. $#$_]) }
    ['rsa', 'rsa:2048', ['mx.example', 'localhost']], ['ec', 'ec', ['mx.example', 'localhost']], ['one', 'ec', ['one.test']],
    ['two', 'ed25519', ['*.two.test']], ['expired', 'ec', ['mx.example', 'localhost'], expired => 1], ['wrong', 'ec', ['other.example']],
    ['short', 'ec', ['mx.example', 'localhost'], alone => 1], ['self', 'ec', ['mx.example', 'localhost'], by => 'self'];
my @bad = qw(expired self short wrong);
my $ca = $certs->ca;
chmod 0755, $certs->dir;
my $logins = table('hash', "$dir/logins", 'joe@local.test ' . scram_record('joe-secret') . "\n");
spew("$dir/sni", "one.test $chain{one}{both}\n.two.test $chain{two}{both}\n");
is(system(build() . '/sbin/gatemap', '-F', "hash:$dir/sni"), 0, 'gatemap -F');
my %port = map { $_ => free_port() } qw(wrap encrypt sni auth), @bad;
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
        (map {"$port{$_} inet n - n - - smtpd -o smtpd_tls_chain_files=$chain{$_}{both}"} @bad),
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

my @levels = qw(none may encrypt fingerprint verify secure dane dane-only);
my %at = (good => $gp->port, map { $_ => $port{$_} } @bad);
my $peers = Gatepost::Peers->postfix(
    main => {
        smtp_tls_security_level => 'may', smtp_tls_CAfile => $ca, smtp_tls_loglevel => 1, mydestination => '',
        smtp_connection_cache_on_demand => 'no', smtp_tls_session_cache_database => '',
        transport_maps => 'inline:{' . join(', ', map {"{$_->[0].test=$_->[1]:[127.0.0.1]:$_->[2]}"} ['may', 'smtp', $gp->port],
            ['encrypt', 'smtp', $port{encrypt}], ['verify', 'smtp', $port{auth}], ['wrong', 'smtp', $port{sni}],
            ['expired', 'smtp', $port{expired}], ['wrap', 'smtps', $port{wrap}],
            map { my $level = $_; map { ["$_.at-$level", "at-$level", $at{$_}] } sort keys %at } @levels) . '}',
        smtp_tls_verify_cert_match => 'mx.example', smtp_tls_secure_cert_match => 'mx.example', smtp_tls_fingerprint_digest => 'sha256',
        smtp_tls_fingerprint_cert_match => join(' ', map { $certs->fingerprint($chain{$_}{cert}) } qw(rsa ec)),
        smtp_tls_policy_maps => 'inline:{' . join(', ', map {"{[127.0.0.1]:$_->[0]=$_->[1]}"} [$port{encrypt}, 'encrypt'],
            [$port{auth}, 'verify match=mx.example'], [$port{sni}, 'verify match=other.example'],
            [$port{expired}, 'verify match=mx.example']) . '}',
    },
    services => [(map {"at-$_ unix - - n - - smtp -o smtp_tls_security_level=$_ -o smtp_tls_policy_maps="} @levels), 'smtps unix - - n - - smtp -o smtp_tls_wrappermode=yes -o smtp_tls_security_level=encrypt'],
);

subtest 'posttls-finger' => sub {
    my @rows = (['may', $gp->port, 'Untrusted', 'may'], ['encrypt', $port{encrypt}, 'Untrusted', 'encrypt'],
        ['verify', $gp->port, 'Verified', 'verify', '-F', $ca], ['secure', $gp->port, 'Verified', 'secure', '-F', $ca],
        ['fingerprint', $port{wrap}, 'Verified', 'fingerprint', '-w', '-d', 'sha256'],
        (map { my $kind = $_; map { ["$kind, $_", $port{$kind}, 'Untrusted', $_, /may|encrypt/ ? () : ('-F', $ca)] }
            qw(may encrypt verify secure) } @bad));
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

# Whether mail goes out by a server that asks for a certificate which it can verify; $try->(kind) hands one over.
sub each_kind {
    my ($outcome, $try) = @_;
    my %want = (good => 'sent', map { $_ => 'not sent' } @bad);
    $try->($_) for sort keys %want;
    for my $kind (sort keys %want) {
        is(wait_until(30, sub { $outcome->($kind) }) || 'nothing', $want{$kind}, $kind);
    }
    is(next_protocol(), 'ESMTPS', 'arrives');
    is(scalar(grep { !$known{$_} } map {s{.*/}{}r} glob $gp->queue . '/hold/*/*'), 0, 'nothing else does');
}
sub to_peer {
    my ($port, $to) = @_;
    my $c = Gatepost::Smtp->new(port => $port) or return fail "$to: session";
    $c->hello;
    is($c->mail('', $to, "Subject: x\r\n\r\nx\r\n")->{code}, 250, "$to: taken");
    $c->quit;
}

subtest 'Exim' => sub {
    my $exim = Gatepost::Peers->exim(domains => [], relayhost => { map { ("$_.test" => "localhost::$at{$_}") } keys %at },
        out => ["tls_verify_certificates = $ca", 'tls_verify_hosts = *', 'tls_verify_cert_hostnames = *', 'hosts_require_tls = *', 'connection_max_messages = 1']);
    each_kind(sub { my ($kind) = @_; $exim->log =~ /=> b\@\Q$kind\E\.test.* X=TLS1\.3:/ ? 'sent' : $exim->log =~ /== b\@\Q$kind\E\.test.*defer|\*\* b\@\Q$kind\E\.test/ ? 'not sent' : undef },
        sub { to_peer($exim->port, "b\@$_[0].test") });
    diag $exim->log if !Test::More->builder->is_passing;
};

# A bad certificate closes the address to it for a while: one for each.
subtest 'OpenSMTPD' => sub {
    my %open = map { $_ => Gatepost::Peers->opensmtpd(ca => $ca, relay => { "$_.test" => qq(host "smtp+tls://localhost:$at{$_}" tls) }) } keys %at;
    each_kind(sub { my $log = $open{ $_[0] }->log; $log =~ /delivery .*result="Ok"/ ? 'sent' : $log =~ /SSL certificate check failed/ ? 'not sent' : undef },
        sub { to_peer($open{ $_[0] }->port, "b\@$_[0].test") });
    diag map { $_->log } values %open if !Test::More->builder->is_passing;
};

# It logs in to us on nobody's behalf, and gives each transaction on as it comes.
subtest 'Dovecot' => sub {
    for my $row (['good', 'starttls', $gp->port, 250], ['TLS from connect', 'smtps', $port{wrap}, 250], map { [$_, 'starttls', $at{$_}, 0] } @bad) {
        my ($name, $ssl, $port, $want) = @$row;
        my $dove = Gatepost::Peers->dovecot(relay => { port => $port, ssl => $ssl, more => ['submission_relay_ssl_verify = yes', "ssl_client_ca_file = $ca"] });
        my $c = Gatepost::Smtp->new(port => $dove->{submission}) or fail("$name: session"), next;
        $c->hello;
        my $r = $c->cmd('AUTH PLAIN ' . MIME::Base64::encode_base64("\0anna\0secret", ''));
        $r = $c->mail('a@x.test', 'b@y.test', "Subject: x\r\n\r\nx\r\n") if $r->{code} == 235;
        is($r->{code} == 250 ? 250 : 0, $want, "$name: $r->{text}") or diag $dove->log;
        is(next_protocol(), 'ESMTPS', "$name: arrives") if $want;
        $dove->stop;
    }
};

subtest 'Postfix, each level with each certificate' => sub {
    my $sent = qr/sent/;
    my $distrust = qr/deferred \(Server certificate not (?:trusted|verified)\)/;
    my %want = (
        (map { $_ => { map { $_ => $sent } keys %at } } qw(none may encrypt dane)),
        (map { $_ => { good => $sent, map { $_ => $distrust } @bad } } qw(fingerprint verify secure)),
        # It asks no DNS here.
        'dane-only' => { map { $_ => qr/deferred \(client TLS configuration problem\)/ } keys %at },
    );
    for my $level (@levels) {
        my $c = Gatepost::Smtp->new(port => $peers->port) or return fail 'session';
        $c->hello;
        is($c->mail('', [map {"b\@$_.at-$level.test"} sort keys %at], "Subject: x\r\n\r\nx\r\n")->{code}, 250, "$level: taken");
    }
    for my $level (@levels) {
        for my $kind (sort keys %at) {
            my $status = wait_until(30, sub { $peers->log =~ /to=<b\@\Q$kind.at-$level\E\.test>.*status=(.*)/ ? $1 : undef }) // 'nothing';
            like($status, $want{$level}{$kind}, "$level, $kind");
        }
    }
    my $n = () = $peers->log =~ /to=<b\@\w+\.at-\w+\.test>.*status=sent/g;
    ok(wait_until(20, sub { $n == grep { !$known{$_} } map {s{.*/}{}r} glob $gp->queue . '/hold/*/*' }), "$n of them arrive");
};

$gp->stop;
done_testing;
