# SPDX-License-Identifier: ISC
# vault alone, on t/vault/stage, which plays master and the peers; and keys with certificates.
#
#   my $pair = pair("$dir/a", 'rsa');         # { key, cert, chain (both, key first), id }; PEM files
#   my $v = Gatepost::Vault->new(files => [$pair->{chain}], services => '{ smtp/inet { } … no }');
#   $v->peer(a => 'smtpd', 'smtp/inet');
#   my @line = $v->ask('sign a KEY SCHEME INPUT');   # what the stage says next, as words
package Gatepost::Vault;
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Exporter 'import';
use Gatepost::Kit;
use IPC::Open2;

our @EXPORT = qw(pair tls13 der_list);

my %kinds = (
    rsa => ['RSA', 'rsa_keygen_bits:2048'], 'rsa-pss' => ['RSA-PSS', 'rsa_keygen_bits:2048'],
    p256 => ['EC', 'ec_paramgen_curve:P-256'], p384 => ['EC', 'ec_paramgen_curve:P-384'],
    p521 => ['EC', 'ec_paramgen_curve:P-521'], ed25519 => ['ED25519'], ed448 => ['ED448'],
    secp256k1 => ['EC', 'ec_paramgen_curve:secp256k1'],
);

sub openssl {
    my ($status, $out) = run_out('openssl', @_);
    die "openssl @_: $out" if $status;
    return $out;
}

# A key and a certificate of its own signing. Options: name (CN), days.
sub pair {
    my ($path, $kind, %arg) = @_;
    my ($algorithm, @options) = @{ $kinds{$kind} // die "no kind $kind" };
    openssl('genpkey', '-quiet', '-algorithm', $algorithm, (map { ('-pkeyopt', $_) } @options), '-out', "$path.key")
        if !-e "$path.key";
    my $name = $arg{name} // 'mx.test';
    openssl('req', '-x509', '-new', '-key', "$path.key", '-subj', "/CN=$name", '-days', $arg{days} // 30,
        '-addext', "subjectAltName=DNS:$name", '-out', "$path.cert");
    openssl('pkey', '-in', "$path.key", '-pubout', '-outform', 'DER', '-out', "$path.spki");
    spew("$path.pem", slurp("$path.key") . slurp("$path.cert"));
    chmod 0600, "$path.pem", "$path.key";
    return { key => "$path.key", cert => "$path.cert", chain => "$path.pem", kind => $kind,
        id => sha256_hex(slurp("$path.spki")), der => cert_der("$path.cert") };
}

sub cert_der { openssl('x509', '-in', $_[0], '-outform', 'DER') }

# CERTS as vault sends it.
sub der_list { join '', map { substr(pack('N', length $_), 1) . $_ } @_ }

# What TLS 1.3 signs.
sub tls13 {
    my ($side, $hash) = @_;
    return ' ' x 64 . "TLS 1.3, $side CertificateVerify\0" . ($hash // 'h' x 32);
}

# services: the value of vault_services; files: chains and keys; tables; main: more settings.
sub new {
    my ($class, %arg) = @_;
    my $dir = tempdir('vault');
    my %main = (data_directory => $dir, vault_services => $arg{services},
        vault_files => join(' ', map {"pem:$_"} @{ $arg{files} // [] }),
        vault_tables => join(' ', @{ $arg{tables} // [] }), %{ $arg{main} // {} });
    spew("$dir/main.cf", join '', map {"$_ = $main{$_}\n"} sort keys %main);
    mkdir "$dir/vault";
    my $self = bless { dir => $dir }, $class;
    $self->{pid} = open2($self->{out}, $self->{in}, build() . '/t/vault/stage',
        build() . '/vault/vault', $dir, $arg{follows} ? 'follows' : ());
    Gatepost::Kit::adopt($self->{pid});
    $self->{in}->autoflush(1);
    ($self->{state}, $self->{status}) = $self->said;
    return $self;
}

# The words of the next line.
sub said {
    my ($self) = @_;
    my $line = readline $self->{out} // return;
    chomp $line;
    return split / /, $line;
}

sub order { print { $_[0]{in} } "$_[1]\n"; return $_[0] }
sub ask { my ($self, $order) = @_; return $self->order($order)->said }

# Connects a peer; what it is told at once: { chains => [[id, certs], …], tickets => [[key, until]] },
# after the last chain and, of smtpd, one ticket key.
sub peer {
    my ($self, $name, $role, $service) = @_;
    $self->order("peer $name $role $service");
    return $self->news($role eq 'smtpd');
}

sub news {
    my ($self, $with_ticket, $silent) = @_;
    my %news = (chains => [], tickets => []);
    my ($is_last, $has_ticket) = ($silent, !$with_ticket);
    while (!$is_last || !$has_ticket) {
        my ($name, $what, @rest) = $self->said or die "the stage has ended";
        if ($what eq 'chain') {
            push @{ $news{chains} }, [$rest[1], pack('H*', $rest[2])] if $rest[1] ne '-';
            $is_last = $rest[0] & 2;
        } elsif ($what eq 'ticket') {
            push @{ $news{tickets} }, [$rest[0], $rest[1]];
            $has_ticket = 1;
        } else {
            die "$name $what @rest";
        }
    }
    return \%news;
}

# (result, signature, text)
sub sign {
    my ($self, $peer, $id, $scheme, $input) = @_;
    my ($name, $what, $result, $signature, @text) =
        $self->ask("sign $peer $id " . hex($scheme) . ' ' . unpack('H*', $input));
    die "$what" if $what ne 'signed';
    return ($result, $signature eq '-' ? '' : pack('H*', $signature), "@text");
}

sub log_text { slurp("$_[0]{dir}/log") // '' }
sub find_log { my ($self, $pattern) = @_; return wait_until(10, sub { $self->log_text =~ $pattern }) }

# vault's own process.
sub vault_pid { (children_of($_[0]{pid}))[0] }

1;
