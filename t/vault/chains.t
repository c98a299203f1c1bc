#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Chains: which files make which chains, each kind of key signs, a renewed file takes the place of the
# old one while sessions go on, and a broken one changes nothing.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Vault;
use Test::More;

need('openssl');
my $dir = tempdir('chains');
my %pair = map { $_ => pair("$dir/$_", $_) } qw(rsa rsa-pss p256 p384 p521 ed25519 ed448);

sub service {
    my ($name, %has) = @_;
    return "{ $name { } { } { " . ($has{chain} // '') . ' } { ' . ($has{sni} // '') . ' } { '
        . ($has{relay} // '') . ' } no }';
}

# A signature is right when the certificate says so.
sub verify {
    my ($pair, $scheme, $input, $signature) = @_;
    spew("$dir/input", $input);
    spew("$dir/signature", $signature);
    Gatepost::Vault::openssl('pkey', '-in', $pair->{key}, '-pubout', '-out', "$dir/public");
    my ($digest) = $scheme =~ /(\d+)$/;
    my @how = $scheme =~ /^ed/ ? ('-rawin') : ('-rawin', '-digest', "sha$digest");
    push @how, '-pkeyopt', 'rsa_padding_mode:pss', '-pkeyopt', 'rsa_pss_saltlen:digest' if $scheme =~ /pss/;
    my ($status, $out) = run_out('openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', "$dir/public",
        '-in', "$dir/input", '-sigfile', "$dir/signature", @how);
    return $status == 0;
}

# ---- every kind of key, TLS 1.3 and 1.2 ----

my %good = (
    rsa => { '0804' => 'rsa-pss-256', '0805' => 'rsa-pss-384', '0806' => 'rsa-pss-512' },
    'rsa-pss' => { '0809' => 'rsa-pss-256', '080a' => 'rsa-pss-384', '080b' => 'rsa-pss-512' },
    p256 => { '0403' => 'ecdsa-256' }, p384 => { '0503' => 'ecdsa-384' }, p521 => { '0603' => 'ecdsa-512' },
    ed25519 => { '0807' => 'ed25519' }, ed448 => { '0808' => 'ed448' },
);
my %old = (
    rsa => { '0401' => 'rsa-256', '0501' => 'rsa-384', '0601' => 'rsa-512' },
    p256 => { '0503' => 'ecdsa-384' }, p384 => { '0403' => 'ecdsa-256' },
);
my $ecdhe = 'r' x 64 . pack('CnC', 3, 29, 32) . 'k' x 32;
for my $kind (sort keys %pair) {
    my $p = $pair{$kind};
    my $v = Gatepost::Vault->new(files => [$p->{chain}], services => service('smtp/inet', chain => $p->{chain}));
    is($v->{state}, 'ready', "$kind: ready") or diag($v->log_text);
    my $news = $v->peer(a => 'smtpd', 'smtp/inet');
    is_deeply($news->{chains}, [[$p->{id}, der_list($p->{der})]], "$kind: its chain");
    for my $case ([tls13('server'), $good{$kind}], [tls13('server', 'x' x 48), $good{$kind}],
        [$ecdhe, { %{ $good{$kind} }, %{ $old{$kind} // {} } }]) {
        my ($input, $schemes) = @$case;
        for my $scheme (sort keys %$schemes) {
            my ($result, $signature, $text) = $v->sign('a', $p->{id}, $scheme, $input);
            is($result, 0, "$kind: $schemes->{$scheme}") or diag($text);
            ok(verify($p, $schemes->{$scheme}, $input, $signature), "$kind: the signature is right");
        }
    }
}

# ---- several chains, several services ----

my $ca = pair("$dir/ca", 'p256', name => 'An authority');
spew("$dir/all.pem", join '', map { slurp($_) } $pair{rsa}{key}, $pair{rsa}{cert}, $ca->{cert}, $pair{p256}{chain});
spew("$dir/certs", slurp($pair{rsa}{cert}) . slurp($ca->{cert}));
spew("$dir/both", slurp($pair{ed25519}{cert}) . slurp($pair{ed25519}{key}));
my $long = "$dir/all.pem $pair{ed25519}{key} $pair{ed25519}{cert}";
my $two = "{ $dir/certs $pair{rsa}{key} } { $dir/both $dir/both }";
my $v = Gatepost::Vault->new(files => [split(/ /, $long), "$dir/certs", "$dir/both", $pair{rsa}{key}],
    services => join ' ', service('smtp/inet', chain => $long), service('smtps/inet', chain => $two),
    service('smtp/unix', chain => $pair{p384}{chain}), service('none/inet'));
is_deeply($v->peer(a => 'smtpd', 'smtp/inet')->{chains},
    [[$pair{rsa}{id}, der_list($pair{rsa}{der}, $ca->{der})], [$pair{p256}{id}, der_list($pair{p256}{der})],
        [$pair{ed25519}{id}, der_list($pair{ed25519}{der})]],
    'three chains out of three files');
is_deeply($v->peer(b => 'smtpd', 'smtps/inet')->{chains},
    [[$pair{rsa}{id}, der_list($pair{rsa}{der}, $ca->{der})], [$pair{ed25519}{id}, der_list($pair{ed25519}{der})]],
    'certificate and key in files of their own, or in one');
is_deeply($v->peer(c => 'smtpd', 'none/inet')->{chains}, [], 'a service without chains is told so');
is_deeply($v->peer(d => 'smtpd', 'other/inet')->{chains}, [], 'and one that vault does not know');
# A file that vault was not given is none.
unlike($v->log_text, qr/all\.pem|both/, 'nothing is wrong with these');

# ---- another service's key ----

is(($v->sign('b', $pair{p256}{id}, '0403', tls13('server')))[0], 2, "another service's key is refused");
is(($v->sign('c', $pair{rsa}{id}, '0804', tls13('server')))[0], 2, 'also to one without a key');
ok($v->find_log(qr/service none\/inet \(smtpd \d+\): a signature is refused: the key is another service's/), 'logged');
is(($v->sign('a', '00' x 32, '0804', tls13('server')))[0], 1, 'a key that nobody has: not now');

# ---- a renewed file ----

my $spare = pair("$dir/new", 'rsa');
my $old = $pair{rsa};
my $third = [$pair{ed25519}{id}, der_list($pair{ed25519}{der})];
my $second = [$pair{p256}{id}, der_list($pair{p256}{der})];
sub renew { spew("$dir/all.pem", $_[0]); $v->order("file $dir/all.pem") }
renew(slurp($spare->{chain}) . slurp($pair{p256}{chain}));
is_deeply($v->news(0)->{chains}, [[$spare->{id}, der_list($spare->{der})], $second, $third], 'a new key comes unasked');
is(($v->sign('a', $spare->{id}, '0804', tls13('server')))[0], 0, 'and signs');
is(($v->sign('a', $old->{id}, '0804', tls13('server')))[0], 0, 'so does the old one, for handshakes under way');
ok($v->find_log(qr/all\.pem: the new certificate is in force/), 'the log says so');

# A certificate of the same key.
my $again = pair("$dir/new", 'rsa', name => 'again.test');
is($again->{id}, $spare->{id}, 'a new certificate for the same key');
renew(slurp($again->{chain}) . slurp($pair{p256}{chain}));
is_deeply($v->news(0)->{chains}[0], [$again->{id}, der_list($again->{der})], 'it comes, too');

# ---- broken ones ----

my $enc = "$dir/encrypted";
Gatepost::Vault::openssl('pkey', '-in', $old->{key}, '-aes128', '-passout', 'pass:x', '-out', $enc);
my $k1 = pair("$dir/k1", 'secp256k1');
my @broken = (
    ['the key does not match', slurp($old->{key}) . slurp($again->{cert}), qr/does not belong to the key/],
    ['a certificate first', slurp($old->{cert}) . slurp($old->{key}), qr/a certificate without a key/],
    ['a key alone', slurp($old->{key}), qr/a key without a certificate/],
    ['two keys', slurp($old->{key}) . slurp($pair{p256}{key}) . slurp($old->{cert}), qr/a key without a certificate/],
    ['cut off', substr(slurp($old->{chain}), 0, 1000), qr/the file is damaged|no private key/],
    ['an encrypted key', slurp($enc) . slurp($old->{cert}), qr/the key is encrypted/],
    ['another curve', slurp($k1->{chain}), qr/the key is of another kind/],
    ['rubbish inside', slurp($old->{key}) =~ s/MII/XXX/r . slurp($old->{cert}), qr/no private key can be read/],
    ['too long', slurp($old->{chain}) . ' ' x 1100000, qr/broken\.\d+: File too large/],
);
# Each in a service of its own, all at once.
spew("$dir/broken.$_", slurp($again->{chain})) for 0 .. $#broken;
my $many = Gatepost::Vault->new(files => [map {"$dir/broken.$_"} 0 .. $#broken],
    services => join ' ', map { service("s$_/inet", chain => "$dir/broken.$_") } 0 .. $#broken);
is(scalar @{ $many->peer("p$_" => 'smtpd', "s$_/inet")->{chains} }, 1, "a good one before: $broken[$_][0]") for 0 .. $#broken;
for my $n (0 .. $#broken) {
    spew("$dir/broken.$n", $broken[$n][1]);
    $many->order("file $dir/broken.$n");
}
for my $n (0 .. $#broken) {
    my ($name, undef, $why) = @{ $broken[$n] };
    ok($many->find_log(qr/broken\.$n: .*the certificate in force stays/), "$name: reported");
    like(join("\n", grep {/broken\.$n: /} split /\n/, $many->log_text), $why, "$name: with the reason");
    is(($many->sign("p$n", $again->{id}, '0804', tls13('server')))[0], 0, "$name: the old one goes on");
}
renew(slurp($old->{chain}));
is_deeply($v->news(0)->{chains}, [[$old->{id}, der_list($old->{der})], $third], 'fewer chains than before');

# Two files that are replaced one behind the other are one change.
spew($pair{ed25519}{key}, slurp(pair("$dir/ed2", 'ed25519')->{key}));
spew($pair{ed25519}{cert}, slurp("$dir/ed2.cert"));
$v->order("file $pair{ed25519}{key}\nfile $pair{ed25519}{cert}");
like(unpack('H*', $v->news(0)->{chains}[1][1]), qr/^/, 'key and certificate together');
unlike($v->log_text, qr/ed25519\.\w+: the certificate does not belong/, 'without a word of a mistake');

# ---- a start with broken files ----

spew("$dir/bad.pem", 'nothing');
my %bad = (files => ["$dir/bad.pem"], services => service('smtp/inet', chain => "$dir/bad.pem"));
my $new = Gatepost::Vault->new(%bad);
is($new->{state}, 'ready', 'vault starts with a broken file, since it has other things to do');
ok($new->find_log(qr/bad\.pem: nothing in it; expected a private key/), 'and says so');
my $told = $new->order('peer a smtpd smtp/inet')->news(1, 1);
is_deeply($told->{chains}, [], 'its smtpd is told nothing: another vault may have more');
spew("$dir/bad.pem", slurp($old->{chain}));
$new->order("file $dir/bad.pem");
is_deeply($new->news(0)->{chains}, [[$old->{id}, der_list($old->{der})]], 'until the file is good');
spew("$dir/bad.pem", 'nothing');
is(Gatepost::Vault->new(%bad, follows => 1)->{state}, 'ended', 'with older workers in force it does not start');
is(Gatepost::Vault->new(files => [], services => $bad{services})->{state}, 'ready', 'a missing file is a broken one');
my $late = pair("$dir/late", 'p256', days => 1);
Gatepost::Vault::openssl('x509', '-in', $late->{cert}, '-signkey', $late->{key}, '-days', '-1', '-out', "$dir/over");
rename "$dir/over", $late->{cert};
my $expired = Gatepost::Vault->new(files => [$late->{cert}, $late->{key}],
    services => service('smtp/inet', chain => "{ $late->{cert} $late->{key} }"));
is(scalar @{ $expired->peer(a => 'smtpd', 'smtp/inet')->{chains} }, 1, 'an expired certificate is used');
ok($expired->find_log(qr/late\.cert: the certificate has expired/), 'with a warning');

done_testing();
