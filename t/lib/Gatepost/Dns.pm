# SPDX-License-Identifier: ISC
# Name servers for a test in its own namespace (use Gatepost::Netns first).
#
#   my $dns = Gatepost::Dns->new(zones => { 'example' => "mx1 A 127.0.0.2\n@ MX 10 mx1\n" });
#   $dns->zone('example', $text);  $dns->stop;  $dns->start;
#   my $bad = Gatepost::Dns->nasty(addr => '127.0.0.54', answer => sub { my ($q) = @_; ... });
#
# A zone's text needs neither SOA nor NS. The nasty responder's code gets { id, name, type, proto,
# packet } and returns bytes to send, or nothing for silence; reply() builds packets for it.
package Gatepost::Dns;
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Netns ();
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More ();

sub new {
    my ($class, %arg) = @_;
    need('nsd');
    my $self = bless {
        dir => tempdir('dns'), addr => $arg{addr} // '127.0.0.53', zones => $arg{zones} // {},
        serial => 1,
    }, $class;
    Gatepost::Netns::resolv_conf($self->{dir}, "nameserver $self->{addr}\noptions timeout:1 attempts:2\n")
        if !exists $arg{resolv_conf} || $arg{resolv_conf};
    $self->start;
    return $self;
}

# The beginning of nsd.conf: everything below DIR, on port 53 of ADDR.
sub nsd_conf {
    my ($dir, $addr) = @_;
    return <<"END";
server:
  ip-address: $addr\@53
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "$dir"
  zonelistfile: "$dir/zone.list"
  pidfile: ""
  database: ""
  xfrdfile: "$dir/xfrd.state"
  xfrdir: "$dir"
  hide-version: yes
remote-control:
  control-enable: no
END
}

sub _write {
    my ($self) = @_;
    my $dir = $self->{dir};
    my $conf = nsd_conf($dir, $self->{addr});
    for my $zone (sort keys %{ $self->{zones} }) {
        my $serial = $self->{serial}++;
        spew("$dir/$zone.zone", "\$ORIGIN $zone.\n\$TTL " . ($self->{ttl} // 1) . "\n"
            . "@ SOA ns hostmaster $serial 3600 600 86400 1\n@ NS ns\nns A $self->{addr}\n"
            . $self->{zones}{$zone});
        $conf .= "zone:\n  name: \"$zone\"\n  zonefile: \"$dir/$zone.zone\"\n";
    }
    spew("$dir/nsd.conf", $conf);
}

sub start {
    my ($self) = @_;
    $self->_write;
    $self->{pid} = spawn({ out => "$self->{dir}/nsd.log" }, '/usr/sbin/nsd', '-d', '-c',
        "$self->{dir}/nsd.conf");
    my ($zone) = sort keys %{ $self->{zones} };
    wait_until(10, sub { defined query($self->{addr}, $zone // 'x', 6) || !is_alive($self->{pid}) }) && is_alive($self->{pid})
        or die "nsd does not answer:\n" . (slurp("$self->{dir}/nsd.log") // '');
    return $self;
}

# Its children have the port as well.
sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    my @all = Gatepost::Kit::descendants($pid);
    stop_pid($pid, 'TERM');
    wait_until(10, sub { !grep { is_alive($_) } @all }) or die "nsd does not end\n";
    return;
}

# New contents of a zone; the server is restarted, since a reload would answer old data meanwhile.
sub zone {
    my ($self, $name, $text) = @_;
    $self->{zones}{$name} = $text;
    $self->stop;
    $self->start;
}

# ---- packets ----

sub name_bytes { join('', map { pack 'C/a', $_ } split /\./, $_[0]) . "\0" }

sub question {
    my ($name, $type, $id) = @_;
    return pack('n6', $id, 0x0100, 1, 0, 0, 0) . name_bytes($name) . pack 'nn', $type, 1;
}

# One query over UDP; the raw answer or undef after 0.3 s.
sub query {
    my ($addr, $name, $type) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => $addr, PeerPort => 53, Proto => 'udp') or return;
    $sock->send(question($name, $type, 4711)) or return;
    IO::Select->new($sock)->can_read(0.3) or return;
    defined $sock->recv(my $buf, 4096) or return;
    return $buf;
}

# A packet that answers QUERY (as given to the nasty code): options rcode, flags (extra bits),
# id, records => [[type, rdata] or [type, rdata, name, ttl], ...], truncated.
sub reply {
    my ($q, %arg) = @_;
    my @records = @{ $arg{records} // [] };
    my $flags = 0x8180 | ($arg{rcode} // 0) | ($arg{flags} // 0) | ($arg{truncated} ? 0x0200 : 0);
    my $bytes = pack('n6', $arg{id} // $q->{id}, $flags, 1, scalar @records, 0, 0)
        . name_bytes($q->{name}) . pack 'nn', $q->{type}, 1;
    for my $r (@records) {
        my ($type, $rdata, $name, $ttl) = @$r;
        $bytes .= name_bytes($name // $q->{name}) . pack 'nnNn/a', $type, 1, $ttl // 1, $rdata;
    }
    return $bytes;
}

# A scripted responder on UDP and TCP.
sub nasty {
    my ($class, %arg) = @_;
    my $addr = $arg{addr} // '127.0.0.53';
    my $udp = IO::Socket::INET->new(LocalAddr => $addr, LocalPort => 53, Proto => 'udp')
        or die "udp $addr:53: $!";
    my $tcp = IO::Socket::INET->new(LocalAddr => $addr, LocalPort => 53, Proto => 'tcp',
        Listen => 16, ReuseAddr => 1) or die "tcp $addr:53: $!";
    my $self = bless { dir => tempdir('dns'), addr => $addr }, $class;
    Gatepost::Netns::resolv_conf($self->{dir}, "nameserver $addr\noptions timeout:1 attempts:2\n")
        if !exists $arg{resolv_conf} || $arg{resolv_conf};
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        Gatepost::Kit::default_signals();
        eval { _respond($self, $udp, $tcp, $arg{answer}); 1 } or print STDERR "dns: $@";
        POSIX::_exit(0);
    }
    Gatepost::Kit::adopt($pid);
    $self->{pid} = $pid;
    return $self;
}

# The queries so far: "udp mx1.example 15", one a line.
sub queries { split /\n/, slurp("$_[0]{dir}/queries") // '' }

sub _respond {
    my ($self, $udp, $tcp, $answer) = @_;
    open my $log, '>>', "$self->{dir}/queries" or die $!;
    $log->autoflush(1);
    my $select = IO::Select->new($udp, $tcp);
    while (1) {
        for my $sock ($select->can_read) {
            if ($sock == $tcp) { $select->add($tcp->accept // next); next }
            my ($packet, $peer, $proto) = ('', undef, 'tcp');
            if ($sock == $udp) {
                $proto = 'udp';
                $peer = $udp->recv($packet, 4096);
            } else {
                my $head = '';
                my $n = sysread($sock, $head, 2) ? unpack 'n', $head : 0;
                if (!$n || !sysread $sock, $packet, $n) { $select->remove($sock); close $sock; next }
            }
            next if length $packet < 17;
            my ($name, $at) = ('', 12);
            while (my $n = ord substr $packet, $at, 1) {
                $name .= '.' if length $name;
                $name .= substr $packet, $at + 1, $n;
                $at += $n + 1;
                last if $at >= length $packet;
            }
            my $type = unpack 'n', substr $packet, $at + 1, 2;
            print $log "$proto \L$name\E $type\n";
            for my $bytes ($answer->({ id => unpack('n', $packet), name => $name, type => $type,
                proto => $proto, packet => $packet })) {
                next if !defined $bytes;
                if ($proto eq 'udp') { $udp->send($bytes, 0, $peer) }
                else                 { syswrite $sock, pack 'n/a', $bytes }
            }
        }
    }
}

1;
