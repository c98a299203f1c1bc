#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# smtpd_sasl_type = dovecot: all mechanisms that a real Dovecot offers, over a UNIX and an inet
# socket; its failures, its restart; and servers on that socket that are none.
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256);
use File::Path qw(make_path);
use Gatepost::Dovecot;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Smtp;
use IO::Select;
use IO::Socket::UNIX;
use MIME::Base64 qw(encode_base64url);
use POSIX ();
use Test::More;

need('swaks', 'curl');
my $dir = tempdir('dovecot');
my %port = map { $_ => free_port() } qw(auth inet plain fake mute);
make_path("$dir/keys/default/HS256");
my $secret = 'a-secret-for-tokens-of-32-bytes!';
spew("$dir/keys/default/HS256/default", b64($secret));
spew("$dir/oauth2", <<"END");
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$dir/keys/
username_attribute = email
END
my $dovecot = Gatepost::Dovecot->new(
    dir => $dir, port => $port{auth}, users => { 'anna@local.test' => 'secret of anna', 'bert@local.test' => 'secret of bert' },
    mechanisms => 'plain login scram-sha-256 cram-md5 xoauth2 oauthbearer anonymous',
    config => "passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = $dir/oauth2\n}");

my $gp = Gatepost::Instance->new(
    main => {
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_path => "$dir/auth", mynetworks => '192.0.2.1',
        smtpd_relay_restrictions => 'permit_sasl_authenticated, reject',
        smtpd_recipient_restrictions => '', default_transport => 'discard',
        smtpd_error_sleep_time => 0, smtpd_hard_error_limit => 1000, log_level => 'debug',
    },
    master => [
        "$port{inet} inet n - n - - smtpd -o smtpd_sasl_path=inet:127.0.0.1:$port{auth}",
        "$port{plain} inet n - n - - smtpd -o smtpd_sasl_security_options=noplaintext,noanonymous",
        "$port{fake} inet n - n - 1 smtpd -o smtpd_sasl_path=unix:$dir/fake",
        "$port{mute} inet n - n - 1 smtpd -o smtpd_sasl_path=unix:$dir/mute",
    ],
);
# One that introduces itself and is silent then. How long it is waited for is seen at the end.
my $mute = IO::Socket::UNIX->new(Local => "$dir/mute", Listen => 5) or die $!;
chmod 0666, "$dir/mute";
$gp->start;
my $silence = $mute->accept;
syswrite $silence, "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n";
my $patient = wait_until(10, sub { my $c = session($port{mute}); $c && $c->{ehlo}{AUTH} ? $c : undef });
$patient->{timeout} = 60;
$patient->send('AUTH PLAIN ' . b64("\0a\0b") . "\r\n");
# How long it takes is seen by somebody who does nothing else.
my $waited = "$dir/waited";
{
    my $asked = time;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        Gatepost::Kit::default_signals();
        IO::Select->new($patient->sock)->can_read(100);
        spew($waited, time - $asked);
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
}

sub session {
    my ($port) = @_;
    my $c = Gatepost::Smtp->new(port => $port // $gp->port) or return;
    return $c->hello ? $c : undef;
}
my $good = '235 2.7.0 Authentication successful';
my $lost = '454 4.7.0 Temporary authentication failure: Connection lost to authentication server';

sub token {
    my ($user, $key) = @_;
    my $now = time;
    my $text = join '.', map { encode_base64url($_) } '{"alg":"HS256","typ":"JWT"}',
        qq({"sub":"$user","email":"$user","iat":$now,"nbf":$now,"exp":@{[ $now + 600 ]}});
    return "$text." . encode_base64url(hmac_sha256($text, $key));
}

subtest 'mechanisms' => sub {
    ok(wait_until(10, sub { session()->{ehlo}{AUTH} =~ /SCRAM/ }), 'smtpd has learnt them');
    my $c = session();
    is(join(' ', sort split / /, $c->{ehlo}{AUTH}), 'CRAM-MD5 LOGIN OAUTHBEARER PLAIN SCRAM-SHA-256 XOAUTH2', 'all but ANONYMOUS');
    unlike(session($port{plain})->{ehlo}{AUTH}, qr/PLAIN|LOGIN|ANONYMOUS/, 'noplaintext');
    is(plain($c, 'anna@local.test', 'secret of anna')->{text}, $good, 'PLAIN');
    $c->cmd('MAIL FROM:<a@x.test>', 250);
    $gp->mark;
    $c->cmd('RCPT TO:<b@y.test>', 250);
    $gp->wait_log(qr/client=unknown\[127\.0\.0\.1\], sasl_method=PLAIN, sasl_username=anna\@local\.test$/);
    is(login(session(), 'bert@local.test', 'secret of bert')->{text}, $good, 'LOGIN');
    my $r = scram(session(), 'anna@local.test', 'secret of anna');
    is($r->{text}, $good, 'SCRAM-SHA-256');
    ok($r->{signed}, 'signed by Dovecot');
    is(plain(session($port{inet}), 'anna@local.test', 'secret of anna')->{text}, $good, 'over an inet socket');
    my $t = token('anna@local.test', $secret);
    $c = session();
    is($c->cmd('AUTH XOAUTH2 ' . b64("user=anna\@local.test\1auth=Bearer $t\1\1"))->{text}, $good, 'XOAUTH2')
        or diag($dovecot->log);
    is(session()->cmd('AUTH OAUTHBEARER ' . b64("n,a=anna\@local.test,\1auth=Bearer $t\1\1"))->{text}, $good, 'OAUTHBEARER');
    $c = session();
    $r = $c->cmd('AUTH XOAUTH2 ' . b64("user=anna\@local.test\1auth=Bearer " . token('anna@local.test', 'x' x 32) . "\1\1"));
    $r = $c->cmd('') if $r->{code} == 334;
    is($r->{code}, 535, 'a forged token');
};

subtest 'failures' => sub {
    $gp->mark;
    like(plain(session(), 'anna@local.test', 'wrong')->{text}, qr/^535 5\.7\.8 Error: authentication failed: /, 'a wrong password');
    $gp->wait_log(qr/warning: unknown\[127\.0\.0\.1\]: SASL PLAIN authentication failed: .*, sasl_username=anna\@local\.test$/);
    is(scram(session(), 'nobody', 'x')->{code}, 535, 'an unknown user');
    is(session()->cmd('AUTH ANONYMOUS eA==')->{text},
        '535 5.7.8 Error: authentication failed: Invalid authentication mechanism', 'noanonymous');
    my $c = session();
    $c->cmd('AUTH LOGIN', 334);
    is($c->cmd('*')->{code}, 501, 'cancelled');
    is(plain($c, 'anna@local.test', 'secret of anna')->{text}, $good, 'and begun anew');
};

subtest 'restart' => sub {
    my $c = session();
    $c->cmd('AUTH LOGIN', 334);
    $dovecot->stop;
    is($c->reply->{text}, $lost, 'an exchange under way');
    is(plain($c, 'anna@local.test', 'secret of anna')->{text}, $lost, 'while it is away');
    is($c->cmd('NOOP')->{code}, 250, 'the session goes on');
    like(session()->{ehlo}{AUTH}, qr/SCRAM/, 'AUTH is still offered');
    $dovecot->start;
    ok(wait_until(15, sub { plain($c, 'anna@local.test', 'secret of anna')->{text} eq $good }), 'it is back');
};

# swaks and curl.
for my $method (qw(PLAIN LOGIN CRAM-MD5)) {
    run_ok("swaks $method", 'swaks', '--server', '127.0.0.1:' . $gp->port, '--from', 'a@x.test', '--to', 'b@y.test',
        '--auth', $method, '--auth-user', 'anna@local.test', '--auth-password', 'secret of anna', '--silent', '3');
}
spew("$dir/mail", "Subject: x\r\n\r\nx\r\n");
run_ok('curl', 'curl', '-sS', '--url', 'smtp://127.0.0.1:' . $gp->port, '--user', 'bert@local.test:secret of bert',
    '--login-options', 'AUTH=LOGIN', '--mail-from', 'a@x.test', '--mail-rcpt', 'b@y.test', '-T', "$dir/mail");

# What may come from such a socket. Each says its part and is gone or silent.
my $hello = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nDONE\n";
my @bad = (
    ['garbage', "\0\1\2 nonsense\n" x 100], ['another version', "VERSION\t9\t0\nMECH\tPLAIN\tplaintext\nDONE\n"],
    ['no version', "MECH\tPLAIN\tplaintext\nDONE\n"], ['a line without end', 'x' x 70000],
    ['closed at once', ''], ['a mechanism with blanks', "VERSION\t1\t1\nMECH\tA B\nDONE\n"],
    ['garbage for an answer', $hello, "\1\2\n"], ['an answer to nobody', $hello, "OK\t99\tuser=x\n" . "OK\tx\n"],
    ['no login', $hello, "OK\t%d\n"], ['a login with control characters', $hello, "OK\t%d\tuser=a\1nb\n"],
    ['a bad challenge', $hello, "CONT\t%d\t!!!\n"], ['closed before its answer', $hello, undef],
);
unlink "$dir/fake";
my $listener = IO::Socket::UNIX->new(Local => "$dir/fake", Listen => 5) or die $!;
chmod 0666, "$dir/fake";
for my $row (@bad) {
    my ($name, $greeting, $answer) = @$row;
    ok(IO::Select->new($listener)->can_read(20), "$name: smtpd connects") or last;
    my $sock = $listener->accept;
    my $c = wait_until(5, sub { session($port{fake}) });
    my $asked = @$row > 2;
    syswrite $sock, $greeting;
    if ($asked) {
        $c->send('AUTH PLAIN ' . b64("\0a\0b") . "\r\n");
        my $in = '';
        1 while $in !~ /^AUTH\t(\d+)\t.*\n/m && sysread $sock, $in, 4096, length $in;
        my ($id) = $in =~ /^AUTH\t(\d+)/m;
        syswrite $sock, $answer =~ s/%d/$id/r if defined $answer;
        like($in, qr/^VERSION\t1\t1\nCPID\t\d+\nAUTH\t\d+\tPLAIN\tservice=smtp\tnologin\tlip=127\.0\.0\.1\tlport=\d+\trip=127\.0\.0\.1\trport=\d+\tresp=AGEAYg==\n$/, 'what Dovecot is told') if $name =~ /garbage/;
        shutdown $sock, 1 if !defined $answer;
        like($c->reply->{text}, qr/^454 4\.7\.0 Temporary/, "$name: 454");
    } else {
        shutdown $sock, 1 if $greeting eq '';
        my $in = '';
        sysread $sock, $in, 4096;
        like($in, qr/^VERSION/, 'it introduced itself');
        ok(IO::Select->new($sock)->can_read(10) && !sysread($sock, $in, 10), "$name: left");
        is(plain($c, 'a', 'b')->{text}, $lost, "$name: 454");
    }
    is($c->cmd('NOOP')->{code}, 250, "$name: the session goes on");
    close $sock;
}
is($patient->reply->{text}, $lost, 'one that is silent: 454');
cmp_ok(wait_until(60, sub { -e $waited }) ? slurp($waited) : 100, '<', 60, 'in the end');
is($patient->cmd('NOOP')->{code}, 250, 'the session goes on');
unlike(slurp("$gp->{dir}/log"), qr/secret of|\Q@{[ b64("\0anna\@local.test\0secret of anna") ]}\E/, 'no password in the log');
done_testing();
