#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# DANE (RFC 7671, 7672) end to end: zones signed by ldns-signzone and served by nsd below a signed
# root, unbound that validates, servers with TLS; good, wrong, missing, unusable, bogus, expired and
# insecure, by aliases too. Then what no name server would serve, by a scripted one: malformed TLSA
# records, SERVFAIL; and name servers that nobody said could be trusted.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Certs;
use Gatepost::Dns;
use Gatepost::Dnssec;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::TlsSink;
use Digest::SHA qw(sha256_hex sha512_hex);
use Socket qw(inet_aton);
use Test::More;

my $certs = Gatepost::Certs->new;
my $self_signed = $certs->make('self', names => ['whatever.sec'], by => 'self', expired => 1);
my $by_ca = $certs->make('ca1', names => ['ta.sec', 'tafull.sec', 'real.sec', 'nexthop.sec', 'behind.sec'], by => 'intermediate');
spew("$by_ca->{chain}", slurp($by_ca->{chain}) . slurp($certs->ca));
my $tls = Gatepost::TlsSink->new(cert => $self_signed, addr => '127.0.0.11', port => 25);
my $other = Gatepost::TlsSink->new(cert => $self_signed, addr => '127.0.0.11', port => 2525);
my $ca = Gatepost::TlsSink->new(cert => $by_ca, addr => '127.0.0.12', port => 25);
my $clear = Gatepost::TlsSink->new(cert => $self_signed, addr => '127.0.0.13', port => 25, starttls => 'none');

sub der {
    my ($status, $out) = run_out('sh', '-c', $_[0]);
    die "$_[0]: $out" if $status;
    return pack 'H*', $out =~ s/\s//gr;
}
my $cert_der = der("openssl x509 -in $self_signed->{cert} -outform DER | od -An -v -tx1");
my $key_der = der("openssl x509 -in $self_signed->{cert} -noout -pubkey | openssl pkey -pubin -outform DER | od -An -v -tx1");
my $ca_der = der('openssl x509 -in ' . $certs->ca . ' -outform DER | od -An -v -tx1');
my %right = ('3 1 1' => sha256_hex($key_der), '3 1 2' => sha512_hex($key_der), '3 0 1' => sha256_hex($cert_der),
    '3 0 0' => unpack('H*', $cert_der), '3 1 0' => unpack('H*', $key_der), '2 0 1' => sha256_hex($ca_der),
    '2 0 0' => unpack 'H*', $ca_der);
sub tlsa { my ($how, $data) = @_; return "$how " . ($data // $right{$how}) }
my $wrong = '00' x 32;
my $ok = tlsa('3 1 1');

# Hosts of the signed zone: name => [address, TLSA ...].
my %host = (
    good => [11, $ok], sha512 => [11, tlsa('3 1 2')], whole => [11, tlsa('3 0 1')], full => [11, tlsa('3 0 0')],
    fullkey => [11, tlsa('3 1 0')], several => [11, tlsa('3 1 1', $wrong), $ok, tlsa('1 1 1', $wrong)],
    wrong => [11, tlsa('3 1 1', $wrong)], none => [11], bare => [13], bareok => [13, $ok],
    pkix => [11, tlsa('1 1 1', $wrong), tlsa('0 0 1', $wrong)], barepkix => [13, tlsa('1 1 1', $wrong)],
    odd => [11, tlsa('3 2 1', $wrong), tlsa('3 1 9', $wrong), '3 1 1 0011223344'],
    noder => [11, '3 0 0 00112233445566778899aabbccddeeff'],
    ta => [12, tlsa('2 0 1')], tafull => [12, tlsa('2 0 0')], tawrong => [11, tlsa('2 0 1')], taname => [12, tlsa('2 0 1')],
    real => [12, tlsa('2 0 1')], onlyalias => [11],
);
my $sec = '';
for my $name (sort keys %host) {
    my ($addr, @tlsa) = @{ $host{$name} };
    $sec .= "$name A 127.0.0.$addr\n" . join('', map {"_25._tcp.$name TLSA $_\n"} @tlsa) . "d-$name MX 10 $name\n";
}
# taname's host is not in the certificate; the next hop's name is.
$sec .= <<"END";
nexthop MX 10 taname
alias CNAME real
d-alias MX 10 alias
alias2 CNAME onlyalias
_25._tcp.alias2 TLSA $ok
d-alias2 MX 10 alias2
leaves CNAME host.plain.
_25._tcp.leaves TLSA $ok
d-leaves MX 10 leaves
leaves2 CNAME host.plain.
d-leaves2 MX 10 leaves2
named A 127.0.0.11
_25._tcp.named CNAME dane
dane TLSA $ok
d-named MX 10 named
d-away MX 10 host.plain.
d-lostaddr MX 10 addr.bog.
d-losttlsa MX 10 tlsa.bog.
d-losthosts MX 10 tlsa.bog.
d-losthosts MX 20 good
d-oldhost MX 10 host.old.
d-cname CNAME behind
behind MX 10 taname
port A 127.0.0.11
_2525._tcp.port TLSA $ok
nomx A 127.0.0.11
_25._tcp.nomx TLSA $ok
END
my $plain = "host A 127.0.0.11\n_25._tcp.host TLSA $ok\nd-host MX 10 host\nd-sec MX 10 good.sec.\n";
my $bog = "addr A 127.0.0.99\ntlsa A 127.0.0.11\n_25._tcp.tlsa TLSA $ok\nd-mx MX 10 good.sec.\n";
my $old = "host A 127.0.0.11\n_25._tcp.host TLSA $ok\nd-mx MX 10 good.sec.\n";
my $dns = Gatepost::Dnssec->new(zones => {
    sec => { records => $sec }, old => { records => $old, expired => 1 }, plain => { records => $plain, unsigned => 1 },
    bog => { records => $bog, forge => { 'addr A' => '127.0.0.11', '_25._tcp.tlsa TLSA' => tlsa('3 1 1', $wrong),
        'd-mx MX' => '20 none.sec.' } },
});

my $verified = ['TLS', qr/status=sent/, 'Verified'];
my $encrypted = ['TLS', qr/status=sent/, 'Untrusted'];
sub deferred {
    my ($text, $status) = @_;
    $status = quotemeta($status // '4.7.5');
    return ['', qr/dsn=$status, status=deferred \($text\)$/];
}
my $unknown = deferred('no TLSA records found');
my $unusable = deferred('TLSA records unusable');
my $insecure = deferred('non DNSSEC destination');
my $unverified = deferred('Server certificate not verified');
sub name_error { return deferred("Host or domain name not found\\. Name service error for name=$_[0] type=$_[1]: Host not found, try again", '4.4.3') }
sub lookup_error { return deferred("TLSA lookup error for \Q$_[0]\E:25") }

# next hop => what becomes of mail at level dane, and at dane-only when that is something else.
my %both = (
    (map { ("d-$_.sec" => [$verified]) } qw(good sha512 whole full fullkey several ta tafull alias alias2 leaves named cname)),
    'nexthop.sec' => [$verified], 'nomx.sec' => [$verified], '[good.sec]' => [$verified], '[port.sec]:2525' => [$verified], '[good.sec]:2525' => [$encrypted, $unknown],
    (map { ("d-$_.sec" => [$unverified]) } qw(wrong tawrong taname)),
    'd-none.sec' => [$encrypted, $unknown], '[none.sec]' => [$encrypted, $unknown], 'd-leaves2.sec' => [$encrypted, $unknown],
    'd-away.sec' => [$encrypted, $unknown],
    'd-bare.sec' => [['clear', qr/status=sent/], $unknown],
    'd-bareok.sec' => [deferred('TLS is required, but was not offered by host bareok\.sec\[127\.0\.0\.13\]', '4.7.4')],
    (map { ("d-$_.sec" => [$encrypted, $unusable]) } qw(pkix odd noder)),
    'd-barepkix.sec' => [deferred('TLS is required, but was not offered by host barepkix\.sec\[127\.0\.0\.13\]', '4.7.4'), $unusable],
    'd-host.plain' => [$encrypted, $insecure], 'd-sec.plain' => [['TLS', qr/status=sent/, 'Trusted'], $insecure],
    '[host.plain]' => [$encrypted, $unknown], '[127.0.0.11]' => [$encrypted, $unknown],
    'd-mx.bog' => [name_error('d-mx\.bog', 'MX')], 'd-mx.old' => [name_error('d-mx\.old', 'MX')],
    'd-lostaddr.sec' => [name_error('addr\.bog', 'A')], 'd-oldhost.sec' => [name_error('host\.old', 'A')],
    'd-losttlsa.sec' => [lookup_error('tlsa.bog')], 'd-losthosts.sec' => [$verified],
);

my @levels = qw(dane dane-only);
my @hops = sort keys %both;
my $odd_addr = '127.0.0.55';
my @odd = qw(tlsa0 tlsa3 tlsa19 tlsamixed servfail silent nxdomain insecure badname weak);
my (%to, @routes);
for my $i (0 .. $#hops) {
    for my $level (@levels, 'may-mx', 'sha512') {
        $to{$level}{ $hops[$i] } = "u\@$level.$i.test";
        push @routes, "$level.$i.test=$level:$hops[$i]";
    }
}
for my $name (@odd, map {"untrusted$_"} 1, 2) {
    for my $level (@levels) {
        my $hop = $name =~ /^un/ ? 'd-good.sec' : "$name.odd";
        push @routes, "$level.$name.test=$level:$hop";
    }
}
push @routes, 'force.weak.test=force:weak.odd';
my $gp = Gatepost::Instance->new(main => {
    relayhost => '', notify_classes => '', minimal_backoff_time => '300s', maximal_backoff_time => '400s',
    smtp_dns_support_level => 'dnssec', smtp_tls_loglevel => 1, smtp_connection_cache_on_demand => 'no',
    transport_maps => 'inline:{' . join(', ', map {"{$_}"} @routes) . '}',
}, master => [map({"$_ unix - - n - - smtp-client\n  -o smtp_tls_security_level=$_"} @levels),
    "may-mx unix - - n - - smtp-client\n  -o smtp_tls_security_level=dane -o smtp_tls_dane_insecure_mx_policy=may",
    "force unix - - n - - smtp-client\n  -o smtp_tls_security_level=dane-only -o smtp_tls_force_insecure_host_tlsa_lookup=yes",
    "sha512 unix - - n - - smtp-client\n  -o smtp_tls_security_level=dane-only -o tls_dane_digests=sha512"]);
$gp->start;
my $c = $gp->session;

sub got {
    my ($to) = @_;
    return join ' ', map { $_->{tls} ? 'TLS' : 'clear' } grep { $_->{rcpts}[0] eq $to } map { $_->messages } $tls, $ca, $clear, $other;
}

sub becomes {
    my ($what, $to, $want) = @_;
    my ($mail, $pattern, $trust) = @$want;
    my $line = $gp->find_log(qr/smtp\[\d+\]: \w+: to=<\Q$to\E>/, 30) // '';
    like($line, $pattern, "$what: the log");
    is(got($to), $mail, "$what: the mail");
    return $line;
}

for my $level (@levels) {
    $c->mail('', $to{$level}{$_}, "Subject: x\r\n\r\nx\r\n") for @hops;
    for my $hop (@hops) {
        my $want = $both{$hop}[ $level eq 'dane' ? 0 : -1 ];
        my $line = becomes("$level, $hop", $to{$level}{$hop}, $want);
        next if !$want->[2];
        my ($relay) = $line =~ /relay=(\S+?),/;
        ok(scalar($gp->log_lines(qr/\Q$want->[2]\E TLS connection established to \Q$relay\E:? /)), "$level, $hop: $want->[2]");
    }
}
$c->mail('', $to{'may-mx'}{'d-sec.plain'}, "Subject: x\r\n\r\nx\r\n");
becomes('smtp_tls_dane_insecure_mx_policy=may', $to{'may-mx'}{'d-sec.plain'}, $encrypted);
for (['d-good.sec', $unusable], ['d-sha512.sec', $verified]) {
    $c->mail('', $to{sha512}{ $_->[0] }, "Subject: x\r\n\r\nx\r\n");
    becomes("tls_dane_digests=sha512, $_->[0]", $to{sha512}{ $_->[0] }, $_->[1]);
}
ok(scalar($gp->log_lines(qr/warning: TLS policy lookup for d-losthosts\.sec\/tlsa\.bog: TLSA lookup error for tlsa\.bog:25$/)),
    'a host that is passed over: the reason is in the log');
ok(scalar($gp->log_lines(qr/warning: DANE TLSA lookup problem: Host or domain name not found\. Name service error for name=_25\._tcp\.tlsa\.bog type=TLSA: Host not found, try again$/)),
    'and what was looked for');
for my $text ('odd.sec:25: unusable TLSA RR: 3 ', 'noder.sec:25: unusable TLSA RR: 3 0 0 00112233445566778899AABBCCDDEEFF',
    'pkix.sec:25: all TLSA records unusable, fallback to unauthenticated TLS', 'pkix.sec:25: all TLSA records unusable') {
    ok(scalar($gp->log_lines(qr/warning: \Q$text\E/)), "the log: $text");
}
is(scalar($gp->log_lines(qr/DNSSEC validation may be unavailable/)), 0, 'nothing is said against this resolver');

# ---- What no name server serves. ----

my @names = map {"$_.odd"} @odd;
my %rdata = (tlsa0 => [''], tlsa3 => ["\3\1\1"], tlsa19 => ["\3\1\1" . 'x' x 16], tlsamixed => ["\3\1\1", "\3\1\1" . pack('H*', $right{'3 1 1'})],
    insecure => ["\3\1\1" . pack('H*', $right{'3 1 1'})]);
my $odd = Gatepost::Dns->nasty(addr => $odd_addr, resolv_conf => 0, answer => sub {
    my ($q) = @_;
    my $name = lc $q->{name};
    my @secure = (flags => 0x0020);
    return Gatepost::Dns::reply($q, @secure, rcode => 2) if $name =~ /sec$/ && $name !~ /good/;
    my ($host) = $name =~ /([a-z0-9]+)(?:\.odd|\.sec)$/;
    return Gatepost::Dns::reply($q, $host eq 'weak' ? () : @secure, records => [[1, inet_aton('127.0.0.11')]]) if $q->{type} == 1;
    return Gatepost::Dns::reply($q, @secure, records => [[15, pack('n', 10) . Gatepost::Dns::name_bytes($name =~ /good/ ? 'good.sec' : $name)]])
        if $q->{type} == 15;
    return Gatepost::Dns::reply($q, @secure) if $q->{type} != 52;
    return Gatepost::Dns::reply($q, rcode => 2) if $host eq 'servfail';
    return if $host eq 'silent';
    return Gatepost::Dns::reply($q, @secure, rcode => 3) if $host eq 'nxdomain';
    return substr(Gatepost::Dns::reply($q, @secure, records => [[52, "\3\1\1" . 'x' x 32]]), 0, -3) if $host eq 'badname';
    @secure = () if $host eq 'insecure';
    return Gatepost::Dns::reply($q, @secure, records => [map { [52, $_] } @{ $rdata{$host} // ["\3\1\1" . pack('H*', $right{'3 1 1'})] }]);
});
my %odd_want = (
    (map { ($_ => [$encrypted, $unusable]) } qw(tlsa0 tlsa3 tlsa19)), tlsamixed => [$verified],
    (map { ($_ => [lookup_error("$_.odd")]) } qw(servfail silent badname)),
    nxdomain => [$encrypted, $unknown], insecure => [$encrypted, $unknown], weak => [$encrypted, $unknown],
);

sub switch_to {
    my ($text) = @_;
    $gp->mark;
    Gatepost::Netns::resolv_conf($dns->{dir}, $text);
    $gp->wait_log(qr/resolver\[\d+\]: name servers: /, 'other name servers');
}

switch_to("nameserver $odd_addr\noptions timeout:5 attempts:1 trust-ad\n");
for my $level (@levels) {
    $c->mail('', "u\@$level.$_.test", "Subject: x\r\n\r\nx\r\n") for @odd;
}
for my $level (@levels) {
    for my $name (@odd) {
        becomes("$level, $name", "u\@$level.$name.test", $odd_want{$name}[ $level eq 'dane' ? 0 : -1 ]);
    }
}

my %wrong_with = (tlsa0 => 'malformed TLSA RR', tlsa3 => 'unusable TLSA RR: 3 1 1 ', tlsa19 => 'unusable TLSA RR: 3 1 1 ' . '78' x 16);
for my $name (sort keys %wrong_with) {
    is(scalar($gp->log_lines(qr/warning: $name\.odd:25: $wrong_with{$name}$/)), 2, "$name: the log says what is wrong");
    is(scalar($gp->log_lines(qr/warning: $name\.odd:25: all TLSA records unusable$_$/)), 1, "$name: and what follows") for '', ', fallback to unauthenticated TLS';
}
for my $name (qw(servfail silent badname)) {
    is(scalar($gp->log_lines(qr/warning: DANE TLSA lookup problem: Host or domain name not found\. Name service error for name=_25\._tcp\.$name\.odd type=TLSA: Host not found, try again$/)),
        2, "$name: the log says what could not be had");
}

# A host in a zone that is not signed is not asked for TLSA records unless that is wanted.
is(scalar(grep {/ _25\._tcp\.weak\.odd 52$/} $odd->queries), 0, 'weak: no TLSA records are looked for');
$c->mail('', 'u@force.weak.test', "Subject: x\r\n\r\nx\r\n");
becomes('smtp_tls_force_insecure_host_tlsa_lookup', 'u@force.weak.test', $verified);
ok(scalar(grep {/ _25\._tcp\.weak\.odd 52$/} $odd->queries), 'weak: they are');

# ---- Name servers that are not trusted. ----

switch_to("nameserver $odd_addr\noptions timeout:5 attempts:1\n");
for my $level (@levels) {
    $c->mail('', "u\@$level.untrusted1.test", "Subject: x\r\n\r\nx\r\n");
    becomes("$level, without trust-ad", "u\@$level.untrusted1.test", $level eq 'dane' ? $encrypted : $insecure);
}
$gp->wait_log(qr/resolver\[\d+\]: warning: DNSSEC validation may be unavailable$/, 'the log says so');
$gp->wait_log(qr/resolver\[\d+\]: warning: reason: neither "options trust-ad" of resolv\.conf nor resolver_trust_ad /, 'and why');
$gp->set(resolver_trust_ad => 'yes');
$gp->reload;
$c = $gp->session;
for my $level (@levels) {
    $c->mail('', "u\@$level.untrusted2.test", "Subject: x\r\n\r\nx\r\n");
    becomes("$level, by resolver_trust_ad", "u\@$level.untrusted2.test", $verified);
}
$gp->stop;
done_testing;
