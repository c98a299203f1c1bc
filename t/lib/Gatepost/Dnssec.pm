# SPDX-License-Identifier: ISC
# Signed zones below a signed root, served by nsd, and unbound that validates them (use
# Gatepost::Netns first). /etc/resolv.conf names unbound, which can be trusted with its AD bit.
#
#   my $dns = Gatepost::Dnssec->new(zones => {
#       sec   => { records => "mx A 127.0.0.2\n" },
#       old   => { records => ..., expired => 1 },                # its signatures are of the past
#       bog   => { records => ..., forge => { 'mx A' => '127.0.0.3' } },   # changed after signing
#       plain => { records => ..., unsigned => 1 },               # the root says so
#   });
#   $dns->addr;   # of unbound
package Gatepost::Dnssec;
use strict;
use warnings;
use Gatepost::Dns;
use Gatepost::Kit;
use Gatepost::Netns ();
use POSIX qw(strftime);

my $DAY = 86_400;

sub _run {
    my ($self, @command) = @_;
    my ($status, $out) = run_out('sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh', $self->{dir}, @command);
    die "@command: $out" if $status;
    return $out;
}

# The zone's file, signed; returns the records of its delegation.
sub _sign {
    my ($self, $zone, $how) = @_;
    my $file = ($zone eq '.' ? 'root' : $zone) . '.zone';
    my $origin = $zone eq '.' ? '.' : "$zone.";
    my $ns = $zone eq '.' ? 'ns.' : "ns.$zone.";
    spew("$self->{dir}/$file", "\$ORIGIN $origin\n\$TTL 60\n\@ SOA $ns hostmaster.$ns 1 3600 600 86400 1\n"
        . "\@ NS $ns\n$ns A $self->{server}\n$how->{records}");
    my $above = "$origin NS $ns\n$ns A $self->{server}\n";
    return $above if $how->{unsigned};
    chomp(my $key = _run($self, 'ldns-keygen', '-a', 'ECDSAP256SHA256', '-k', '-r', '/dev/urandom', $origin));
    my ($from, $to) = $how->{expired} ? (-20, -10) : (-2, 20);
    _run($self, 'ldns-signzone', '-i', strftime('%Y%m%d%H%M%S', gmtime(time + $from * $DAY)),
        '-e', strftime('%Y%m%d%H%M%S', gmtime(time + $to * $DAY)), '-o', $origin, '-f', $file, $file, $key);
    $self->_forge($file, $origin, %{ $how->{forge} // {} });
    spew("$self->{dir}/anchor", slurp("$self->{dir}/$key.ds")) if $zone eq '.';
    return $above . slurp("$self->{dir}/$key.ds");
}

sub _forge {
    my ($self, $file, $origin, %forged) = @_;
    my $text = slurp("$self->{dir}/$file");
    for my $what (sort keys %forged) {
        my ($name, $type) = split / /, $what;
        $text =~ s/^(\Q$name.$origin\E\s+\d+\s+IN\s+$type\s+).*$/$1$forged{$what}/m or die "no $what in $origin";
    }
    spew("$self->{dir}/$file", $text);
}

sub new {
    my ($class, %arg) = @_;
    need('nsd', 'unbound', 'ldns-signzone', 'ldns-keygen');
    my $self = bless { dir => tempdir('dnssec'), server => '127.0.0.53', addr => '127.0.0.54' }, $class;
    my $below = join '', map { $self->_sign($_, $arg{zones}{$_}) } sort keys %{ $arg{zones} };
    $self->_sign('.', { records => $below });
    $self->_start_nsd('.', sort keys %{ $arg{zones} });
    $self->_start_unbound;
    Gatepost::Netns::resolv_conf($self->{dir}, $self->resolv_conf);
    return $self;
}

sub addr { $_[0]{addr} }
sub resolv_conf { "nameserver $_[0]{addr}\noptions timeout:3 attempts:1 trust-ad\n" }

sub _start_nsd {
    my ($self, @zones) = @_;
    my $dir = $self->{dir};
    my $conf = Gatepost::Dns::nsd_conf($dir, $self->{server});
    $conf .= "zone:\n  name: \"$_\"\n  zonefile: \"$dir/" . ($_ eq '.' ? 'root' : $_) . ".zone\"\n" for @zones;
    spew("$dir/nsd.conf", $conf);
    spawn({ out => "$dir/nsd.log" }, '/usr/sbin/nsd', '-d', '-c', "$dir/nsd.conf");
    wait_until(10, sub { defined Gatepost::Dns::query($self->{server}, $zones[-1], 6) })
        or die "nsd does not answer:\n" . (slurp("$dir/nsd.log") // '');
}

sub _start_unbound {
    my ($self) = @_;
    my $dir = $self->{dir};
    spew("$dir/unbound.conf", <<"END");
server:
  interface: $self->{addr}
  access-control: 127.0.0.0/8 allow
  num-threads: 1
  username: ""
  chroot: ""
  directory: "$dir"
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  do-ip6: no
  do-not-query-localhost: no
  val-log-level: 2
  trust-anchor-file: "$dir/anchor"
  module-config: "validator iterator"
remote-control:
  control-enable: no
stub-zone:
  name: "."
  stub-addr: $self->{server}
END
    spawn({ out => "$dir/unbound.log" }, '/usr/sbin/unbound', '-d', '-c', "$dir/unbound.conf");
    wait_until(10, sub { defined Gatepost::Dns::query($self->{addr}, 'x', 6) })
        or die "unbound does not answer:\n" . (slurp("$dir/unbound.log") // '');
}

1;
