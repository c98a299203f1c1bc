#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Certificates that are good, expired, self-signed, of another name, or come without what signed them,
# and a TLS of old, each at every level of security, from real servers: Postfix, Exim, and Dovecot by LMTP.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Test::More;

my $certs = Gatepost::Certs->new;
my %cert = (
    good => $certs->make('good', names => ['mx.test']),
    expired => $certs->make('expired', names => ['mx.test'], expired => 1),
    self => $certs->make('self', names => ['mx.test'], by => 'self'),
    wrong => $certs->make('wrong', names => ['other.test']),
    short => $certs->make('short', names => ['mx.test'], by => 'intermediate', alone => 1),
);
my @kinds = sort keys %cert;
my @levels = qw(none may encrypt fingerprint verify secure dane dane-only);

my %port = (
    (map { ("postfix.$_" => free_port()) } @kinds, 'old'), map { ("exim.$_" => free_port()) } @kinds,
);
my $tls_1 = '-o smtpd_tls_chain_files=' . $cert{good}{both} . ' -o smtpd_tls_protocols=<=TLSv1.1 -o tls_medium_cipherlist=ALL:@SECLEVEL=0';
my $postfix = Gatepost::Peers->postfix(
    domains => ['static:all'], main => { smtpd_tls_security_level => 'may', smtpd_tls_received_header => 'yes' },
    services => ["127.0.0.1:$port{'postfix.old'} inet n - n - - smtpd $tls_1",
        map {"127.0.0.1:$port{\"postfix.$_\"} inet n - n - - smtpd -o smtpd_tls_chain_files=$cert{$_}{both}"} @kinds],
);
my $exim = Gatepost::Peers->exim(domains => ['*'], tls => $cert{good}, ports => { map { ($port{"exim.$_"} => $cert{$_}) } @kinds });
my %more = map { ("dovecot.$_" => Gatepost::Peers->dovecot(users => ['u'], tls => $cert{$_})) } qw(good self);
$port{$_} = $more{$_}->port for keys %more;

# What becomes of the mail: "TLS" or "clear", else what the log says.
my %tls = map { $_ => 'TLS' } @kinds;
my $unverified = 'status=deferred (Server certificate not verified)';
my $failure = 'status=deferred (Cannot start TLS: handshake failure)';
my %verified = (good => 'TLS', old => $failure, map { $_ => $unverified } qw(expired self wrong short));
my %want = (
    none => { map { $_ => 'clear' } @kinds, 'old' }, (map { $_ => { %tls, old => $failure } } qw(may encrypt dane)),
    (map { $_ => \%verified } qw(fingerprint verify secure)),
    'dane-only' => { map { $_ => 'status=deferred (no TLSA records found)' } @kinds, 'old' },
);
my (%to, @routes);
for my $server (sort keys %port) {
    my ($name, $kind) = split /\./, $server;
    for my $level (@levels) {
        my $to = "u\@$kind.$level.$name.test";
        push @{ $to{$level} }, $to;
        push @routes, ($to =~ s/.*@//r) . '=' . ($name eq 'dovecot' ? "l$level:inet:127.0.0.1" : "$level:[127.0.0.1]") . ":$port{$server}";
    }
}
my %main = map { my $side = $_; (
    "${side}_tls_CAfile" => $certs->ca, "${side}_tls_loglevel" => 1, "${side}_tls_fingerprint_digest" => 'sha256',
    "${side}_tls_fingerprint_cert_match" => $certs->fingerprint($cert{good}{cert}),
    "${side}_tls_verify_cert_match" => 'mx.test', "${side}_tls_secure_cert_match" => 'mx.test',
) } qw(smtp lmtp);
my $gp = Gatepost::Instance->new(
    main => { %main, minimal_backoff_time => '300s', maximal_backoff_time => '400s', notify_classes => '',
        transport_maps => 'inline:{' . join(', ', @routes) . '}' },
    master => [map { ("$_ unix - - n - - smtp-client -o smtp_tls_security_level=$_ -o smtp_dns_support_level=dnssec", "l$_ unix - - n - - smtp-client -l -o lmtp_tls_security_level=$_ -o lmtp_dns_support_level=dnssec") } @levels],
);
$gp->start;

my $c = $gp->session;
is($c->mail('', $to{$_}, "Subject: $_\r\n\r\nx\r\n")->{code}, 250, "$_: taken") for @levels;
my %sent;
for my $level (@levels) {
    for my $to (@{ $to{$level} }) {
        my ($kind, $name) = $to =~ /\@(\w+)\.[\w-]+\.(\w+)\.test/;
        my $want = $want{$level}{$kind};
        my $line = $gp->find_log(qr/\w+: to=<\Q$to\E>/, 30) // 'no line';
        like($line, $want =~ /^status/ ? qr/\Q$want\E$/ : qr/status=sent/, "$name, $kind, $level: the log");
        push @{ $sent{$name}{$want} }, $to if $want !~ /^status/;
    }
}

# What each of them got, and how, as it says.
my %by = (postfix => [$postfix], exim => [$exim], dovecot => [values %more]);
my %inside = (postfix => qr/\(using TLSv1\.3 with cipher/, exim => qr/with esmtps\s+\(TLS1\.3\)/);
for my $name (sort keys %by) {
    my %n = map { $_ => scalar @{ $sent{$name}{$_} } } qw(TLS clear);
    my @mail;
    wait_until(20, sub { @mail = map { $_->received } @{ $by{$name} }; @mail >= $n{TLS} + $n{clear} });
    is(scalar @mail, $n{TLS} + $n{clear}, "$name: all of it");
    is(scalar(grep { $_ =~ $inside{$name} } @mail), $n{TLS}, "$name: so much by TLS") if $inside{$name};
}
is(scalar($gp->log_lines(qr/smtp\[\d+\]: \w+: to=<|lmtp\[\d+\]: \w+: to=</)), scalar(map {@$_} values %to), 'one outcome for each recipient');
ok(!$gp->log_lines(qr/panic|fatal/), 'nothing broke');
diag tail($gp->{log}, 30) if !Test::More->builder->is_passing;
done_testing;
