#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What gatepost check finds of keys, chains and tables of names before vault does.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Vault;
use Test::More;

need('openssl');
run_out(src() . '/t/lib/make-users') if $> == 0;
my $dir = tempdir('check');
my %pair = map { $_ => pair("$dir/$_", 'p256') } qw(a b);
my ($a, $b) = map { $pair{$_} } qw(a b);
spew("$dir/names", "x.test $a->{chain}\n");
spew("$dir/key-only", slurp($a->{key}));

sub check {
    my ($main, $master) = @_;
    spew("$dir/main.cf", 'daemon_directory = ' . build() . "/libexec\nalias_maps =\n$main\n");
    spew("$dir/master.cf", $master // "2525 inet n - n - - smtpd\n");
    return run_out(build() . '/sbin/gatepost', '-c', $dir, 'check');
}

my $none = 'there is no certificate; expected one in smtpd_tls_chain_files';
my @good = (
    "smtpd_tls_chain_files = $a->{chain}\nsmtpd_tls_security_level = encrypt",
    "smtpd_tls_chain_files = $a->{key}, $a->{cert}",
    "smtpd_tls_cert_file = $a->{chain}\nsmtpd_tls_security_level = may",
    "smtpd_tls_cert_file = $a->{cert}\nsmtpd_tls_key_file = $a->{key}\nsmtp_tls_cert_file = \$smtpd_tls_cert_file\nsmtp_tls_key_file = \$smtpd_tls_key_file",
    "smtpd_tls_cert_file = none", "smtpd_tls_eccert_file = $b->{chain}\nsmtpd_enforce_tls = yes",
    "lmtp_tls_chain_files = $a->{chain}", 'smtpd_tls_security_level = none',
    "smtpd_use_tls = yes\nsmtpd_tls_security_level = none",
);
for my $main (@good) {
    my ($status, $out) = check($main);
    is("$status$out", '0', $main);
}
my @bad = (
    ["smtpd_tls_chain_files = $dir/nothing", "3:25: error: smtpd_tls_chain_files: $dir/nothing: No such file or directory; expected a readable PEM file"],
    ["smtpd_tls_chain_files = $a->{chain}, $dir", qr/^3:\d+: error: smtpd_tls_chain_files: \Q$dir\E: not a plain file; expected a readable PEM file$/],
    ["smtp_tls_cert_file = $a->{cert}\nsmtp_tls_key_file = $dir/gone", "4:21: error: smtp_tls_key_file: $dir/gone: No such file or directory; expected a readable PEM file"],
    ["smtpd_tls_cert_file = $a->{cert}\nsmtpd_tls_key_file = $b->{key}", qr/^3:23: error: \Q$a->{cert}\E: the certificate does not belong to the key; expected/],
    ["lmtp_tls_chain_files = $dir/key-only", qr/^3:24: error: \Q$dir\E\/key-only: a key without a certificate; expected/],
    ["smtpd_tls_chain_files = $dir/names", qr/^3:25: error: \Q$dir\E\/names: nothing in it; expected a private key and its certificates/],
    ['smtpd_tls_security_level = encrypt', "3:28: error: TLS is required of clients, but $none"],
    ['smtpd_enforce_tls = yes', "3:21: error: TLS is required of clients, but $none"],
    ["smtpd_tls_chain_files = $a->{chain}\ntls_server_sni_maps = texthash:$dir/names", qr/^4:23: error: tls_server_sni_maps: texthash:\S+ is no indexed file; expected a table that "gatemap -F" makes/],
    ["tls_server_sni_maps = hash:$dir/names", qr/^3:23: error: tls_server_sni_maps: \Q$dir\E\/names\.db: No such file/],
    ["smtp_sasl_password_maps = hash:$dir/relays", qr/^3:27: error: smtp_sasl_password_maps: \Q$dir\E\/relays\.db: No such file/],
);
for (@bad) {
    my ($main, $want) = @$_;
    my ($status, $out) = check($main);
    is($status, 1, $main);
    my @line = map {s{^\Q$dir\E/main\.cf:}{}r} split /\n/, $out;
    ref $want ? like($line[0], $want, '  is named') : is($line[0], $want, '  is named');
    is(scalar @line, 1, '  once') or diag($out);
}
my $late = pair("$dir/late", 'p256');
Gatepost::Vault::openssl('x509', '-in', $late->{cert}, '-signkey', $late->{key}, '-days', '-1', '-out', "$dir/over");
my ($status, $out) = check("smtpd_tls_chain_files = $late->{key} $dir/over");
is("$status$out", "0$dir/main.cf:3:25: warning: $dir/over: the certificate has expired\n", 'an expired one is a warning');
($status, $out) = check('smtpd_tls_security_level = may');
is($status, 0, 'may without a certificate');
is($out, "$dir/main.cf:3:28: warning: TLS is not offered, since $none\n", 'is a warning');
($status, $out) = check("smtpd_tls_chain_files = $a->{chain}",
    "2525 inet n - n - - smtpd\n2526 inet n - n - - smtpd -o smtpd_tls_chain_files= -o smtpd_tls_wrappermode=yes\n");
like($out, qr/master\.cf:2:\d+: error: TLS is required of clients, but/, 'a port of its own');
done_testing();
