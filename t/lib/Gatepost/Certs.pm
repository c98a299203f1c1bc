# SPDX-License-Identifier: ISC
# Certificates for tests, made by openssl(1) below one authority and one of its intermediates.
#
#   my $c = Gatepost::Certs->new;                     # authority: $c->ca (PEM), $c->ca_der …
#   my $s = $c->make('mx', names => ['mx.test']);     # { cert, key, chain, both } paths
#   (type => 'rsa:2048' | 'ec' | 'ed25519'; by => 'ca' | 'intermediate' | 'self'; expired => 1;
#    client => 1)
#   $c->fingerprint($s->{cert});                      # "AB:CD:…" by SHA-256
package Gatepost::Certs;
use strict;
use warnings;
use Gatepost::Kit;

sub _openssl {
    my ($self, @args) = @_;
    my ($status, $out) = run_out('openssl', @args);
    die "openssl @args: $out" if $status;
    return $out;
}

sub new {
    my ($class, %arg) = @_;
    my $self = bless { dir => $arg{dir} // tempdir('certs'), serial => 1000 }, $class;
    $self->_key('ca', 'ec');
    $self->_openssl('req', '-x509', '-key', "$self->{dir}/ca.key", '-subj', '/CN=Test Authority',
        '-days', 30, '-out', "$self->{dir}/ca.pem", '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
    $self->make('intermediate', names => [], ca => 1, cn => 'Test Intermediate');
    return $self;
}

sub ca  { "$_[0]{dir}/ca.pem" }
sub dir { $_[0]{dir} }

sub _key {
    my ($self, $name, $type) = @_;
    my $out = "$self->{dir}/$name.key";
    my @how = $type =~ /^rsa:(\d+)$/ ? ('RSA', '-pkeyopt', "rsa_keygen_bits:$1")
        : $type eq 'ed25519' ? ('ED25519') : ('EC', '-pkeyopt', 'ec_paramgen_curve:P-256');
    $self->_openssl('genpkey', '-algorithm', @how, '-out', $out);
    return $out;
}

sub make {
    my ($self, $name, %arg) = @_;
    my $dir = $self->{dir};
    my $by = $arg{by} // 'ca';
    my $key = $self->_key($name, $arg{type} // 'ec');
    my $cn = $arg{cn} // $arg{names}[0] // $name;
    my @ext = $arg{ca} ? ('basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign')
        : ('basicConstraints=CA:FALSE', 'extendedKeyUsage=' . ($arg{client} ? 'clientAuth' : 'serverAuth'));
    push @ext, 'subjectAltName=' . join ',', map {"DNS:$_"} @{ $arg{names} } if @{ $arg{names} // [] };
    spew("$dir/$name.ext", join '', map {"$_\n"} @ext);
    $self->_openssl('req', '-new', '-key', $key, '-subj', "/CN=$cn", '-out', "$dir/$name.csr");
    my @sign = $by eq 'self' ? ('-signkey', $key) : ('-CA', "$dir/$by.pem", '-CAkey', "$dir/$by.key");
    my @time = ('-days', $arg{expired} ? -1 : 20);
    $self->_openssl('x509', '-req', '-in', "$dir/$name.csr", @sign, '-set_serial', ++$self->{serial}, @time,
        '-extfile', "$dir/$name.ext", '-out', "$dir/$name.pem");
    my $chain = slurp("$dir/$name.pem") . ($by eq 'intermediate' && !$arg{alone} ? slurp("$dir/intermediate.pem") : '');
    spew("$dir/$name.chain", $chain);
    spew("$dir/$name.both", slurp($key) . $chain);
    chmod 0644, $key;
    return { cert => "$dir/$name.pem", key => $key, chain => "$dir/$name.chain", both => "$dir/$name.both" };
}

sub fingerprint {
    my ($self, $cert, $digest) = @_;
    my $out = $self->_openssl('x509', '-in', $cert, '-noout', '-fingerprint', '-' . ($digest // 'sha256'));
    return $out =~ /=([0-9A-F:]+)/ ? $1 : die $out;
}

1;
