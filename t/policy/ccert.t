#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What restrictions and policy servers know of TLS and of the client's certificate, over real TLS:
# none, one that nobody vouches for, one that our authority has signed.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Policy;
use Gatepost::Smtp;
use Gatepost::Tls;
use Test::More;

need('openssl');
my $certs = Gatepost::Certs->new;
my $chain = $certs->make('server', type => 'ec', names => ['mx.example'], by => 'intermediate');
my %cert = (
    vouched => $certs->make('vouched', cn => 'joe (one) a\+b', client => 1),
    stranger => $certs->make('stranger', cn => 'joe (one) a\+b', client => 1, by => 'self'),
);

sub key_fingerprint {
    my ($pem) = @_;
    my ($hex) = `openssl x509 -in '$pem' -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -c` =~ /([0-9a-f:]{95})/i or die "no key in $pem";
    return uc $hex;
}
my %print = map { ("$_ cert" => $certs->fingerprint($cert{$_}{cert}), "$_ key" => key_fingerprint($cert{$_}{cert})) } keys %cert;

my $policy = Gatepost::Policy->new(answer => sub { "action=DUNNO\n\n" });
my $denied = qr/^554 5\.7\.1 <unknown\[127\.0\.0\.1\]>: Client host rejected: Access denied$/;
my $ok = qr/^250 2\.1\.5 Ok$/;
my $plain = qr/^450 4\.7\.1 Session encryption is required$/;
my $told = sub { my ($code, $text) = @_; return qr/^$code \d\.7\.1 <unknown\[127\.0\.0\.1\]>: Client certificate rejected: $text$/ };

# The client list => replies in clear, with TLS alone, to the stranger, to who is vouched for; more settings.
my @rows = (
    ['reject_plaintext_session', $plain, $ok, $ok, $ok],
    ["check_policy_service " . $policy->spec, $ok, $ok, $ok, $ok],
    ["check_ccert_access inline:{{$print{'vouched cert'} = 450 later} {$print{'stranger key'} = REJECT you} {joe (one) a+b = REJECT name}}", $ok, $ok, $told->(554, 'you'), $told->(450, 'later')],
    ["check_ccert_access { inline:{{joe (one) a+b = REJECT name}}, { search_order = subject } }", $ok, $ok, $ok, $told->(554, 'name')],
    ["check_ccert_access { later:inline:{{$print{'vouched key'} = 450 key} {$print{'vouched cert'} = 450 cert}} { search_order = issuer, pubkey_fingerprint, cert_fingerprint } }", $ok, $ok, $ok, $told->(450, 'key')],
    ['permit_tls_clientcerts, reject', $denied, $denied, $ok, $denied, "relay_clientcerts=inline:{$print{'stranger cert'}=x}"],
    ['permit_tls_clientcerts, reject', $denied, $denied, $denied, $ok, "relay_clientcerts=inline:{$print{'vouched key'}=x}"],
    ['permit_tls_all_clientcerts, reject', $denied, $denied, $denied, $ok],
);
my (@port, @master);
for my $row (@rows) {
    push @port, free_port();
    push @master, "$port[-1] inet n - n - - smtpd -o { smtpd_client_restrictions = $row->[0] }" . ($row->[5] ? " -o { $row->[5] }" : '');
}
my $sealed = free_port();
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_tls_security_level => 'may', smtpd_tls_chain_files => $chain->{both}, smtpd_tls_CAfile => $certs->ca,
        smtpd_tls_ask_ccert => 'yes', smtpd_tls_fingerprint_digest => 'sha256', mynetworks => '192.0.2.1',
        smtpd_recipient_restrictions => '', smtpd_relay_restrictions => 'reject_unauth_destination',
        virtual_mailbox_domains => 'local.test', virtual_mailbox_maps => 'static:x', virtual_transport => 'discard:',
        local_header_rewrite_clients => '',
    },
    master => [@master, "$sealed inet n - n - - smtpd -o local_header_rewrite_clients=permit_tls_clientcerts -o { relay_clientcerts = inline:{$print{'stranger cert'}=x} }"
        . ' -o smtpd_data_restrictions=check_client_access,static:HOLD'],
);
$gp->start or die 'no instance';

sub client {
    my ($port, $who) = @_;
    my $c = Gatepost::Smtp->new(port => $port);
    $c->hello or return;
    return $c if $who eq 'clear';
    my $t = starttls($c, $cert{$who} ? ('-cert', $cert{$who}{cert}, '-key', $cert{$who}{key}) : ()) or return;
    return $t->ehlo ? $t : undef;
}

my @who = qw(clear tls stranger vouched);
for my $i (0 .. $#rows) {
    for my $k (0 .. 3) {
        my $c = client($port[$i], $who[$k]) or fail("$rows[$i][0]: $who[$k]: " . tls_error()), next;
        $c->cmd('MAIL FROM:<s@far.test>');
        like($c->cmd('RCPT TO:<u@local.test>')->{text}, $rows[$i][1 + $k], "$rows[$i][0]: $who[$k]");
        $c->cmd('QUIT');
    }
}

my ($clear, $tls, $stranger, $vouched) = $policy->requests;
my @names = qw(ccert_subject ccert_issuer ccert_fingerprint ccert_pubkey_fingerprint);
is("@{$clear}{qw(encryption_protocol encryption_cipher encryption_keysize)}", '  0', 'a policy server: in clear');
is("@{$tls}{qw(encryption_protocol encryption_cipher encryption_keysize)}", 'TLSv1.3 TLS_AES_256_GCM_SHA384 256', 'TLS');
is(join('|', @{$tls}{@names}), '|||', 'no certificate');
is(join('|', @{$stranger}{@names}), "||$print{'stranger cert'}|$print{'stranger key'}", 'one that nobody vouches for: no names');
is(join('|', @{$vouched}{ @names[0, 2, 3] }), "joe+20(one)+20a+2Bb|$print{'vouched cert'}|$print{'vouched key'}", 'one that our authority has signed, in xtext');
isnt($vouched->{ccert_issuer}, '', 'and by whom');

# Whose headers are completed.
for my $who ('tls', 'stranger') {
    my $c = client($sealed, $who) or fail($who), next;
    my $r = $c->mail('s@far.test', 'u@local.test', "Subject: x\r\n\r\nx\r\n");
    my ($id) = $r->{text} =~ /queued as (\S+)/;
    $c->cmd('QUIT');
    my $content = wait_until(10, sub { my ($s, $out) = $gp->tool('gateq', 'cat', $id // 'none'); $s == 0 && $out }) // '';
    is(scalar($content =~ /^Message-Id: /m), $who eq 'stranger' ? 1 : '', "permit_tls_clientcerts of local_header_rewrite_clients: $who");
}
$gp->stop;
done_testing;
