#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Ways of TLS: policies by next hop, also from tables that answer late or fail; TLS from connect; the
# name that a server is told; the next of two hosts; clear text after a failure; kept sessions.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Tables;
use Gatepost::TlsSink;
use Test::More;

my $certs = Gatepost::Certs->new;
my $dir = tempdir('ways');
my $mx = $certs->make('mx', names => ['mx.test']);
my $sub = $certs->make('sub', names => ['a.far.test']);
my $own = Gatepost::Certs->new(dir => tempdir('own'));
my $private = $own->make('private', names => ['private.test']);
my $none = Gatepost::TlsSink->new(cert => $mx, starttls => 'none');
my $sink = Gatepost::TlsSink->new(cert => $mx);
my $far = Gatepost::TlsSink->new(cert => $sub);
my $closed = Gatepost::TlsSink->new(cert => $private);
my $sni = Gatepost::TlsSink->new(cert => $mx, server => ['-servername', 'inside.test', '-cert2', $sub->{cert}, '-key2', $sub->{key}]);
my $wrapped = Gatepost::TlsSink->new(cert => $mx, wrapper => 1);
my $broken = Gatepost::TlsSink->new(cert => $mx, starttls => 'garbage');
my $dropping = Gatepost::TlsSink->new(cert => $mx, starttls => 'drop');
my $login = Gatepost::TlsSink->new(cert => $mx, starttls => 'garbage');
my $twin = Gatepost::TlsSink->new(cert => $mx, starttls => 'none', addr => '127.0.0.2', port => $none->port);
my $lmtp = Gatepost::TlsSink->new(cert => $mx, lmtp => 1);
my $down = free_port();
sub at { '[127.0.0.1]:' . $_[0]->port }

my ($anchor, $missing, $junk) = ($own->ca, "$dir/missing.pem", spew("$dir/junk.pem", "no certificate\n"));
my $policy = table('hash', "$dir/policy", join '', map {"$_\n"}
    at($none) . '     encrypt',
    at($far) . '      secure match=.far.test',
    at($closed) . "   verify match=private.test tafile=$anchor",
    at($sni) . '      verify match=a.far.test servername=inside.test',
    at($lmtp) . '     verify match=mx.test',
    '127.0.0.1:' . $lmtp->port . ' encrypt',
    'bad.test:' . $sink->port . '   encyrpt',
    'worse.test:' . $sink->port . ' encrypt math=x',
    'gone.test:' . $sink->port . "  verify tafile=$missing");
sub routes {
    my (%to) = @_;
    return 'inline:{' . join(', ', map {"{$_.test=$to{$_}}"} sort keys %to) . '}';
}
my $gp = Gatepost::Instance->new(main => {
    notify_classes => '', smtp_tls_security_level => 'may', smtp_tls_CAfile => $certs->ca, lmtp_tls_CAfile => $certs->ca,
    smtp_tls_policy_maps => $policy, lmtp_tls_policy_maps => $policy, smtp_tls_loglevel => 1, lmtp_tls_loglevel => 1,
    smtp_tls_secure_cert_match => 'mx.test', smtp_connection_cache_time_limit => '20s',
    transport_maps => routes(none => 'smtp:' . at($none), may => 'smtp:' . at($sink), far => 'smtp:' . at($far),
        closed => 'smtp:' . at($closed), sni => 'smtp:' . at($sni), lmtp => 'lmtp:inet:127.0.0.1:' . $lmtp->port,
        lmtp2 => 'lmtp:' . at($lmtp),
        bad => 'smtp:bad.test:' . $sink->port, worse => 'smtp:worse.test:' . $sink->port, gone => 'smtp:gone.test:' . $sink->port,
        fails => 'fails:' . at($sink), wrong => 'wrong:' . at($sink), noca => 'noca:' . at($sink),
        wrap => 'wrap:' . at($wrapped), loose => 'loose:' . at($wrapped), refused => "wrap:[127.0.0.1]:$down",
        next => 'smtp:' . at($none) . ', [127.0.0.2]:' . $none->port,
        patient => 'patient:' . at($broken), hasty => 'smtp:' . at($broken), login => 'smtp:' . at($login),
        cut => 'smtp:' . at($dropping), cut2 => 'patient:' . at($dropping), once => 'once:' . at($sink)),
    # So long clear text is not thought of: the first attempt comes sooner on any machine.
    minimal_backoff_time => '8s', maximal_backoff_time => '8s',
    smtp_sasl_auth_enable => 'yes', smtp_sasl_password_maps => 'inline:{{' . at($login) . '=joe:secret}}',
    smtp_sasl_security_options => 'noanonymous',
}, master => [
    "fails unix - - n - - smtp-client\n  -o smtp_tls_policy_maps=fail:x",
    "wrong unix - - n - - smtp-client\n  -o { smtp_tls_protocols = <=TLSv1.1 }",
    "noca unix - - n - - smtp-client\n  -o smtp_tls_CAfile=$junk -o smtp_tls_security_level=encrypt",
    "wrap unix - - n - - smtp-client\n  -o smtp_tls_wrappermode=yes -o smtp_tls_security_level=secure",
    "loose unix - - n - - smtp-client\n  -o smtp_tls_wrappermode=yes",
    "patient unix - - n - - smtp-client\n  -o minimal_backoff_time=300s",
    "once unix - - n - - smtp-client\n  -o smtp_tls_connection_reuse=no",
]);
$gp->start;
my $c = $gp->session;

# What is logged of a recipient first, and whether the mail came with TLS.
sub becomes {
    my ($name, $want, $server, $tls, $what) = @_;
    my $to = "u\@$name.test";
    $gp->mark;
    is($c->mail('', $to, "Subject: $name\r\n\r\nx\r\n")->{code}, 250, "$name: taken");
    my $line = $gp->find_log(qr/\w+: to=<\Q$to\E>/, 30) // '';
    like($line, $want, "$name: $what");
    return if !$server;
    my @got = grep { $_->{rcpts}[0] eq $to } $server->messages;
    is(join(' ', map { $_->{tls} ? 'TLS' : 'clear' } @got), $tls, "$name: as it came");
}
my $sent = qr/dsn=2\.0\.0, status=sent \(250 /;
my $config = qr/relay=none, .*dsn=4\.7\.5, status=deferred \(client TLS configuration problem: /;

becomes('may', $sent, $sink, 'TLS', 'the parameters, where the table has no entry');
becomes('none', qr/dsn=4\.7\.4, status=deferred \(TLS is required, but was not offered by host/, $none, '', 'an entry above the parameters');
becomes('far', $sent, $far, 'TLS', 'any name below a domain');
becomes('closed', $sent, $closed, 'TLS', 'an authority of its own, read at start');
becomes('sni', $sent, $sni, 'TLS', 'the name that the server is told chooses its certificate');
becomes('lmtp', qr/lmtp\[\d+\]: .*$sent/, $lmtp, 'TLS', 'LMTP, as inet:host:port');
becomes('lmtp2', $sent, $lmtp, 'TLS', 'LMTP, as [host]:port');
becomes('bad', qr/${config}smtp_tls_policy_maps, next-hop destination "bad\.test:\d+": invalid security level "encyrpt"\)/,
    $sink, '', 'a bad level');
becomes('worse', qr/${config}smtp_tls_policy_maps, next-hop destination "worse\.test:\d+": invalid attribute name: "math"\)/,
    $sink, '', 'a bad attribute');
becomes('gone', qr/${config}.*"gone\.test:\d+": trust anchors of \Q$missing\E are not known; files are read at start\)/,
    $sink, '', 'anchors that were not there');
becomes('fails', qr/${config}smtp_tls_policy_maps, next-hop destination "\[127\.0\.0\.1\]:\d+": lookup error\)/,
    $sink, '', 'a table that fails');
becomes('wrong', qr/$config/, $sink, '', 'a parameter that cannot be read');
becomes('noca', qr/dsn=4\.7\.5, status=deferred \(TLS is required, but our TLS engine is unavailable\)/, $sink, '',
    'a file of authorities without any');

# TLS from connect.
becomes('wrap', $sent, $wrapped, 'TLS', 'TLS from connect');
like(($wrapped->sessions)[0], qr/\Araw 16\nTLS\nEHLO mx\.example\nMAIL /, 'a handshake before any byte of SMTP');
becomes('loose', qr/${config}smtp_tls_wrappermode requires "smtp_tls_security_level = encrypt" \(or stronger\)\)/,
    undef, '', 'not with level may');
is(scalar($wrapped->sessions), 1, 'it was not even connected');
becomes('refused', qr/relay=none, .*dsn=4\.4\.1, status=deferred \(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:$down: Connection refused\)/,
    undef, '', 'nobody there');

# The next host: one that does not do is not the end.
becomes('next', $sent, $twin, 'clear', 'the second next hop, whose policy is another');
$gp->wait_log(qr/smtp\[\d+\]: \w+: TLS is required, but was not offered by host 127\.0\.0\.1\[127\.0\.0\.1\]$/, 'log: why not the first');

# Mail that has waited goes in clear text where level may allows it; new mail waits.
becomes('patient', qr/status=deferred \(Cannot start TLS: handshake failure\)/, $broken, '', 'a failed handshake');
becomes('hasty', qr/status=deferred \(Cannot start TLS: handshake failure\)/, undef, '', 'at first');
# A host with credentials gets neither them nor mail that way: it would refuse such mail for ever.
becomes('login', qr/status=deferred \(Cannot start TLS: handshake failure\)/, $login, '', 'credentials: a failed handshake');
becomes('cut', qr/status=deferred \(lost connection with \S+ while sending MAIL FROM\)/, undef, '', 'a session lost inside of TLS');
sub comes { my ($pattern, $what) = @_; ok(wait_until(20, sub { $gp->all_lines($pattern) }), $what) or diag tail($gp->{log}, 20) }
comes(qr/to=<u\@hasty\.test>, .*status=sent/, 'later it goes');
comes(qr/smtp\[\d+\]: \w+: Cannot start TLS: handshake failure$/, 'log: why in clear text');
is(join(' ', map { $_->{tls} } grep { $_->{rcpts}[0] eq 'u@hasty.test' } $broken->messages), '0', 'once, in clear text');
like(join('', $broken->sessions), qr/STARTTLS\nEHLO|EHLO mx\.example\nMAIL/, 'by a session of its own');
is(scalar(grep { $_->{rcpts}[0] eq 'u@patient.test' } $broken->messages), 0, 'what is to wait longer waits');
comes(qr/to=<u\@login\.test>, .*dsn=4\.7\.5, status=deferred \(Cannot start TLS; host \S+, for which there are credentials, gets no mail in clear text\)/,
    'credentials: it goes on waiting');
is(scalar($login->messages), 0, 'credentials: nothing in clear text');
unlike(join('', $login->sessions), qr/^(?:AUTH|MAIL)/m, 'credentials: not even a sender');
comes(qr/to=<u\@cut\.test>, .*status=sent/, 'it goes in clear text, too');
is(join(' ', map { $_->{tls} } grep { $_->{rcpts}[0] eq 'u@cut.test' } $dropping->messages), '0', 'once');

# Kept sessions: by one policy, for one transport.
$gp->mark;
for (1 .. 3) {
    is($c->mail('', "k$_\@may.test", "x\r\n")->{code}, 250, "kept: $_");
    $gp->wait_log(qr/to=<k$_\@may\.test>, .*status=sent/, "kept: $_ sent");
}
my @lines = $gp->log_lines(qr/TLS connection (?:established|reused) to /);
ok(scalar(grep {/Trusted TLS connection reused to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: TLSv1\.3 with cipher /} @lines), 'the log says that TLS is kept');
cmp_ok(scalar(grep {/<k\d\@may\.test>/} $sink->sessions), '<', 3, 'fewer sessions than messages');
for (1 .. 2) {
    is($c->mail('', "k$_\@once.test", "x\r\n")->{code}, 250, "not kept: $_");
    $gp->wait_log(qr/to=<k$_\@once\.test>, .*status=sent/, "not kept: $_ sent");
}
is(scalar(grep {/<k\d\@once\.test>/} $sink->sessions), 2, 'connection_reuse = no');

# A new table is in force at once.
table('hash', "$dir/policy", at($sink) . " verify match=other.test\n");
ok(wait_until(20, sub {
    $gp->mark;
    $c->mail('', 'new@may.test', "x\r\n");
    ($gp->find_log(qr/to=<new\@may\.test>/) // '') =~ /Server certificate not verified/;
}), 'a new table is in force, kept sessions of before are not used');

ok(!$gp->all_lines(qr/panic|fatal/), 'nothing broke');
diag tail($gp->{log}, 40) if !Test::More->builder->is_passing;
done_testing;
