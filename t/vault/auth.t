#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# AUTH by tables that vault holds: rows C1, C2, C3, C6 and C7, each port with its own settings; what
# clients and the log are told; nothing of a password in any log.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Sink;
use Gatepost::Smtp;
use Gatepost::Tables;
use Test::More;

my $dir = tempdir('auth');
my %password = (joe => 'pa ss-jOe', 'ann@local.test' => 'Ann,=secret', 'bob@local.test' => 'bob-s3cret');
# Each kind of hash that crypt(3) makes, cheap.
my %kinds = (yescrypt => '$y$j75$0123456789abcdefghijk/$', sha512 => '$6$rounds=1000$saltstring$', sha256 => '$5$rounds=1000$saltstring$',
    bcrypt => '$2b$04$abcdefghijklmnopqrstuu');
my $all = table('hash', "$dir/all", join '',
    "joe " . scram_record($password{joe}) . "\n",
    "ann\@local.test " . crypt_record($password{'ann@local.test'}) . ' ' . scram_record($password{'ann@local.test'}) . "\n",
    "bob\@local.test {CRYPT}" . crypt_record($password{'bob@local.test'}) . "\n",
    "eve\@local.test clear-secret\n",
    map {"$_\@local.test " . crypt('of ' . $_, $kinds{$_}) . "\n"} sort keys %kinds);
my $one = table('btree', "$dir/one", 'port@local.test ' . crypt_record('port-secret') . "\n");
my %port = map { $_ => free_port() } qw(only never tls fixed filter mechanisms);
my $sink = Gatepost::Sink->new;
my $relay = 'permit_sasl_authenticated, reject_unauth_destination';
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $all,
        smtpd_sasl_local_domain => 'local.test', mynetworks => '192.0.2.1',
        smtpd_relay_restrictions => $relay, smtpd_recipient_restrictions => '',
        virtual_mailbox_domains => 'local.test', virtual_mailbox_maps => 'inline:{{u@local.test=x}}',
        virtual_transport => 'discard', default_transport => 'discard',
        transport_maps => 'inline:{{sink.test=smtp:[127.0.0.1]:' . $sink->port . '}}',
        smtpd_sasl_authenticated_header => 'yes', smtpd_error_sleep_time => 0,
        smtpd_hard_error_limit => 1000, log_level => 'debug',
    },
    master => [
        'vault unix - - - - 1 vault',
        "$port{only} inet n - n - - smtpd -o { smtpd_client_restrictions = permit_sasl_authenticated, reject }"
            . ' -o { smtpd_recipient_restrictions = permit_sasl_authenticated, reject }',
        "$port{never} inet n - n - - smtpd -o smtpd_sasl_auth_enable=no",
        "$port{tls} inet n - n - - smtpd -o smtpd_tls_auth_only=yes",
        "$port{fixed} inet n - n - - smtpd -o smtpd_sasl_password_maps=$one -o broken_sasl_auth_clients=yes",
        "$port{mechanisms} inet n - n - - smtpd -o { smtpd_sasl_mechanism_filter = !login, static:rest }",
        "$port{filter} inet n - n - - smtpd -o smtpd_sasl_security_options=noplaintext,noanonymous"
            . ' -o smtpd_sasl_exceptions_networks=127.0.0.9',
    ],
);
$gp->start;

sub session {
    my ($port, %arg) = @_;
    my $c = Gatepost::Smtp->new(port => $port // $gp->port, %arg) or return;
    return $c->hello ? $c : undef;
}

sub rcpt {
    my ($c, $to) = @_;
    $c->cmd('MAIL FROM:<s@client.test>', 250);
    my $r = $c->cmd("RCPT TO:<$to>");
    $c->cmd('RSET', 250);
    return $r->{code};
}
my $good = '235 2.7.0 Authentication successful';
my $bad = '535 5.7.8 Error: authentication failed: authentication failure';

subtest 'mechanisms and logins' => sub {
    my $c = session();
    is($c->{ehlo}{AUTH}, 'SCRAM-SHA-256 PLAIN LOGIN', 'what is offered');
    my @rows = (
        ['joe', $password{joe}, 1], ['JOE', $password{joe}, 1], ['joe', 'wrong', 0],
        ['ann', $password{'ann@local.test'}, 1], ['ann@local.test', $password{'ann@local.test'}, 1],
        ['ann@other.test', $password{'ann@local.test'}, 0], ['nobody', 'wrong', 0],
        ['bob', $password{'bob@local.test'}, 1], ['eve', 'clear-secret', 0],
    );
    for my $row (@rows) {
        my ($login, $password, $want) = @$row;
        is(plain(session(), $login, $password)->{text}, $want ? $good : $bad, "PLAIN $login");
        is(login(session(), $login, $password)->{text}, $want ? $good : $bad, "LOGIN $login");
        my $r = scram(session(), $login, $password);
        $want = 0 if $login eq 'bob';
        is($r->{text}, $want ? $good : $bad, "SCRAM $login");
        ok($r->{signed}, 'signed by the server') if $want;
    }
    for my $kind (sort keys %kinds) {
        is(plain(session(), $kind, "of $kind")->{text}, $good, "PLAIN against $kind");
        is(plain(session(), $kind, "off $kind")->{text}, $bad, "a wrong password against $kind");
    }
};

subtest 'what is logged' => sub {
    $gp->wait_log(qr/warning: unknown\[127\.0\.0\.1\]: SASL PLAIN authentication failed: authentication failure, sasl_username=nobody$/);
    $gp->wait_log(qr/SASL LOGIN authentication failed: authentication failure, sasl_username=joe$/);
    $gp->wait_log(qr/SASL SCRAM-SHA-256 authentication failed: authentication failure, sasl_username=joe$/);
    $gp->wait_log(qr/vault\[\d+\]: warning: password table: a record of eve\@local\.test is ignored/);
    $gp->wait_log(qr/disconnect from unknown\[127\.0\.0\.1\] ehlo=1 auth=0\/1 commands=1\/2$/);
};

subtest 'C1: relay only after AUTH' => sub {
    my $c = session();
    is(rcpt($c, 'x@far.test'), 554, 'far before');
    is(rcpt($c, 'u@local.test'), 250, 'local before');
    is(plain($c, 'ann', $password{'ann@local.test'})->{text}, $good, 'AUTH');
    is(rcpt($c, 'x@far.test'), 250, 'far after');
    is(rcpt($c, 'u@local.test'), 250, 'local after');
    is($c->cmd('AUTH PLAIN')->{text}, '503 5.5.1 Error: already authenticated', 'once is enough');
    $gp->mark;
    $c->cmd('MAIL FROM:<s@client.test> AUTH=boss+40x.test', 250);
    $c->cmd('RCPT TO:<x@far.test>', 250);
    $c->cmd('DATA', 354);
    $c->send("Subject: x\r\n\r\n.\r\n");
    is($c->reply->{code}, 250, 'a message');
    $gp->wait_log(qr/client=unknown\[127\.0\.0\.1\], sasl_method=PLAIN, sasl_username=ann\@local\.test, sasl_sender=boss\@x\.test$/);
};

subtest 'other clients' => sub {
    need(qw(swaks curl));
    for my $method (qw(PLAIN LOGIN)) {
        run_ok("swaks $method", 'swaks', '--server', '127.0.0.1:' . $gp->port, '--from', 'a@x.test', '--to', 'b@far.test',
            '--auth', $method, '--auth-user', 'bob', '--auth-password', $password{'bob@local.test'}, '--silent', '3');
    }
    spew("$dir/mail", "Subject: by curl\r\n\r\nx\r\n");
    run_ok('curl', 'curl', '-sS', '--url', 'smtp://127.0.0.1:' . $gp->port, '--user', 'bob:' . $password{'bob@local.test'},
        '--mail-from', 'a@x.test', '--mail-rcpt', 'b@sink.test', '-T', "$dir/mail");
    ok(wait_until(20, sub { $sink->count }), 'it arrives');
    my ($m) = $sink->messages;
    like($m->{content}, qr/^Received: from \S+ \(unknown \[127\.0\.0\.1\]\)\r?\n\t\(Authenticated sender: bob\@local\.test\)\r?\n\tby mx\.example \(Gatepost\) with ESMTPA id /m,
        'Received: names the login');
};

subtest 'C2: by port' => sub {
    my $c = session($port{never});
    ok(!exists $c->{ehlo}{AUTH}, 'never: absent');
    is(plain($c, 'joe', $password{joe})->{text}, '503 5.5.1 Error: authentication not enabled', 'and refused');
    is($c->cmd('MAIL FROM:<a@x> AUTH=<>')->{text}, '503 5.5.4 Error: authentication disabled', 'AUTH= too');
    $c = session($port{tls});
    ok(!exists $c->{ehlo}{AUTH}, 'under TLS alone: absent in clear');
    is(plain($c, 'joe', $password{joe})->{text},
        '538 5.7.11 Encryption required for requested authentication mechanism', 'and refused');
    $c = session($port{filter});
    is($c->{ehlo}{AUTH}, 'SCRAM-SHA-256', 'noplaintext');
    is(plain($c, 'joe', $password{joe})->{text},
        '535 5.7.8 Error: authentication failed: Invalid authentication mechanism', 'PLAIN is refused');
    is(scram($c, 'joe', $password{joe})->{text}, $good, 'SCRAM is not');
    $c = session($port{mechanisms});
    is($c->{ehlo}{AUTH}, 'SCRAM-SHA-256 PLAIN', 'smtpd_sasl_mechanism_filter');
    is(login($c, 'joe', $password{joe})->{text}, '535 5.7.8 Error: authentication failed: Invalid authentication mechanism', 'LOGIN is refused');
    is(plain($c, 'joe', $password{joe})->{text}, $good, 'PLAIN is not');
    $c = session($port{filter}, from => '127.0.0.9');
    ok(!exists $c->{ehlo}{AUTH}, 'smtpd_sasl_exceptions_networks');
    is(scram($c, 'joe', $password{joe})->{code}, 503, 'not for them');
};

subtest 'C3: nothing before AUTH' => sub {
    my $c = session($port{only});
    is(rcpt($c, 'u@local.test'), 554, 'local, too');
    is(plain($c, 'joe', $password{joe})->{text}, $good, 'AUTH');
    is(rcpt($c, 'u@local.test'), 250, 'then');
};

subtest 'C7: one login for a port' => sub {
    my $c = session($port{fixed});
    is($c->{ehlo}{'AUTH=SCRAM-SHA-256'}, 'PLAIN LOGIN', 'the old form');
    is(plain($c, 'joe', $password{joe})->{text}, $bad, 'a real account');
    is(plain($c, 'port', 'port-secret')->{text}, $good, 'that pair');
    is(plain(session(), 'port', 'port-secret')->{text}, $bad, 'not elsewhere');
};

subtest 'a service with other tables' => sub {
    my $other = table('hash', "$dir/other", 'port@local.test ' . crypt_record('other-secret') . "\n");
    s/\Q$one\E/$other/ for @{ $gp->{services} };
    $gp->write_config;
    is(($gp->tool('gatepost', 'service', $port{fixed}, 'restart'))[0], 0, 'service restart');
    ok(wait_until(20, sub { plain(session($port{fixed}), 'port', 'other-secret')->{text} eq $good }), 'its new table is in force');
    ok(wait_until(20, sub { plain(session($port{fixed}), 'port', 'port-secret')->{text} eq $bad }), 'the old one no more');
    is(plain(session(), 'joe', $password{joe})->{text}, $good, 'other services go on');
    s/\Q$other\E/$one/ for @{ $gp->{services} };
    $gp->write_config;
    is(($gp->tool('gatepost', 'service', $port{fixed}, 'restart'))[0], 0, 'and back');
};

subtest 'the dialogue' => sub {
    my $c = session();
    my @rows = (
        'AUTH' => '501 5.5.4 Syntax: AUTH mechanism',
        'AUTH PLAIN a b' => '501 5.5.4 Syntax: AUTH mechanism',
        'AUTH NONE' => '535 5.7.8 Error: authentication failed: Invalid authentication mechanism',
        'AUTH PLAIN !' => '501 5.5.2 Error: authentication failed: malformed base64',
        'AUTH PLAIN =' => '535 5.7.8 Error: authentication failed: malformed message',
        'AUTH PLAIN AA==' => '535 5.7.8 Error: authentication failed: malformed message',
        'AUTH PLAIN' => '334 ', '*' => '501 5.7.0 Authentication aborted',
        'AUTH LOGIN' => '334 VXNlcm5hbWU6', 'am9l' => '334 UGFzc3dvcmQ6', '*' => '501 5.7.0 Authentication aborted',
        'AUTH LOGIN' => '334 VXNlcm5hbWU6', '???' => '501 5.5.2 Error: authentication failed: malformed base64',
        'AUTH login am9l' => '334 UGFzc3dvcmQ6', 'x' x 12289 => '500 5.5.6 SASL response limit exceeded',
        'AUTH SCRAM-SHA-256' => '334 ', b64('p=tls-unique,,n=joe,r=a') => '535 5.7.8 Error: authentication failed: malformed message',
        'NOOP' => '250 2.0.0 Ok',
        'AUTH PLAIN ' . b64("other\0joe\0$password{joe}") => $bad,
        'AUTH PLAIN ' . ('A' x 4000) => '535 5.7.8 Error: authentication failed: malformed message',
        'NOOP ' . ('A' x 4000) => '500 5.5.2 Error: line too long',
        'MAIL FROM:<a@x> AUTH=a+4' => '501 5.5.4 Error: syntax error in AUTH parameter',
        'MAIL FROM:<a@x> AUTH=<> AUTH=<>' => '503 5.5.4 Error: multiple AUTH= options',
        'MAIL FROM:<a@x> AUTH=<>' => '250 2.1.0 Ok',
        'AUTH PLAIN' => '503 5.5.1 Error: MAIL transaction in progress',
        'RSET' => '250 2.0.0 Ok',
        'AUTH PLAIN' => '334 ', b64("joe\0joe\0$password{joe}") => $good,
    );
    while (my ($line, $want) = splice @rows, 0, 2) {
        is($c->cmd($line)->{text}, $want, length $line > 60 ? 'a long ' . substr $line, 0, 10 : $line);
    }
    is(scram(session(), 'joe', $password{joe}, sub { $_[0] =~ s/c=biws/c=eSws/r })->{code}, 535, 'another binding');
    is(scram(session(), 'joe', $password{joe}, sub { $_[0] =~ s/r=/r=x/r })->{code}, 535, 'another nonce');
    is(scram(session(), 'joe', $password{joe}, sub { 'x' x 3000 })->{code}, 535, 'nonsense');
    $c = session();
    $c->send("AUTH LOGIN\r\n" . b64('joe') . "\r\n" . b64($password{joe}) . "\r\n");
    is($c->reply->{code}, 554, 'talking ahead ends the session');
};

subtest 'a login that is not there' => sub {
    my @challenge = map { scram(session(), 'nobody', 'x')->{challenge} =~ s/^r=[^,]*//r } 1, 2;
    is($challenge[0], $challenge[1], 'has always the same salt');
    like($challenge[0], qr/,s=[^,]{24},i=4096$/, 'like that of others');
    isnt(scram(session(), 'nobody2', 'x')->{challenge} =~ s/^r=[^,]*//r, $challenge[0], 'of its own');
    $gp->kill_role('vault');
    ok(wait_until(10, sub {
        my $r = scram(session(), 'nobody', 'x');
        $r->{code} == 535 && $r->{challenge} =~ s/^r=[^,]*//r eq $challenge[0];
    }), 'over a restart of vault, too');
};

subtest 'vault dies in the middle' => sub {
    my $c = session();
    $c->cmd('AUTH LOGIN', 334);
    $gp->kill_role('vault');
    is($c->reply->{text}, '454 4.7.0 Temporary authentication failure: Connection lost to authentication server', 'said at once');
    is($c->cmd(b64('joe'))->{code}, 500, 'the exchange is over');
    ok(wait_until(10, sub { plain($c, 'joe', $password{joe})->{text} eq $good }), 'the same session logs in');
    $gp->wait_log(qr/SASL LOGIN temporary authentication failure: Connection lost/);
    my ($vault) = @{ $gp->roles->{vault} };
    my ($crew) = children_of($vault);
    kill 'KILL', (children_of($crew))[0];
    $gp->wait_log(qr/a process that checks passwords has died and is replaced/);
    is(plain(session(), 'joe', $password{joe})->{text}, $good, 'a lost child is replaced') for 1 .. 3;
};

subtest 'no vault for a while' => sub {
    my ($hurried, $patient) = (session(), session());
    is(($gp->tool('gatepost', 'service', 'vault', 'stop'))[0], 0, 'gatepost service vault stop');
    $hurried->send('AUTH PLAIN ' . b64("\0joe\0$password{joe}") . "\r\n");
    is($hurried->reply->{text}, '454 4.7.0 Temporary authentication failure: Connection lost to authentication server', 'said when none comes');
    my $text;
    for my $try (1 .. 5) {
        my $from = time;
        $patient->send('AUTH PLAIN ' . b64("\0joe\0$password{joe}") . "\r\n");
        is(($gp->tool('gatepost', 'service', 'vault', 'start'))[0], 0, 'gatepost service vault start');
        my $took = time - $from;
        $text = $patient->reply->{text};
        # A start that takes longer than it is waited for says nothing.
        last if $text eq $good || $took < 4;
        is(($gp->tool('gatepost', 'service', 'vault', 'stop'))[0], 0, 'once more: stop');
    }
    is($text, $good, 'one that comes checks who waits');
    is(plain($hurried, 'joe', $password{joe})->{text}, $good, 'and the other one, again');
};

subtest 'who has what' => sub {
    plan skip_all => 'only root sees what others have open' if $>;
    my $roles = $gp->roles;
    my $open = sub { map { readlink($_) // () } glob "/proc/$_[0]/fd/*" };
    my ($vault, @crew) = @{ $roles->{vault} };
    for my $name (qw(all one)) {
        ok(scalar(grep { $_ eq "$dir/$name.db" } $open->($vault)), "vault has $name");
        is(scalar(grep { $_ eq "$dir/$name.db" } map { $open->($_) } @{ $roles->{smtpd} }, @{ $roles->{cleanup} }, @crew), 0,
            'nobody else');
    }
    cmp_ok(scalar(@crew), '>=', 3, 'children, and who looks after them');
    is(join(' ', map { s/:.*//r } $open->($_)), 'socket', 'a child has one socket') for @crew[1 .. $#crew];
    my ($uid) = slurp("/proc/$vault/status") =~ /^Uid:\s+(\d+)/m;
    is(getpwuid($uid), 'gp-vault', 'its user');
    is(readlink("/proc/$vault/root"), $gp->queue . '/empty/vault', 'its root directory');
    is(sprintf('%o %d', (stat "$gp->{main}{data_directory}/vault/key")[2, 4]), '100600 0', 'its key is only for root to read');
};

subtest 'a new table' => sub {
    table('hash', "$dir/all", "new " . scram_record('new-secret') . "\n");
    ok(wait_until(10, sub { plain(session(), 'new', 'new-secret')->{text} eq $good }), 'is in force without a reload');
    is(plain(session(), 'joe', $password{joe})->{text}, $bad, 'the old one is not');
    $gp->reload;
    is(scram(session(), 'new', 'new-secret')->{text}, $good, 'and after one');
    unlink "$dir/all.db";
    my ($status, $out) = $gp->tool('gatepost', 'check');
    like($out, qr/main\.cf:\d+:\d+: error: smtpd_sasl_password_maps: .*all\.db/, 'check names a missing one');
};

# No password, in clear or encoded, and no hash.
my $log = slurp("$gp->{dir}/log");
for my $secret (values %password, 'port-secret', 'clear-secret', 'new-secret') {
    for my $login ('', keys %password, 'port', 'eve', 'new', 'ann', 'bob') {
        my $coded = b64($login eq '' ? $secret : "\0$login\0$secret");
        fail("the log has $coded") if index($log, $coded) >= 0;
    }
    ok(index($log, $secret) < 0, 'no clear password in the log');
}
unlike($log, qr/\$6\$|SCRAM-SHA-256\}\d/, 'no record');
like($log, qr/< unknown\[127\.0\.0\.1\]: AUTH \(not shown\)/, 'although it has the dialogue');
done_testing();
