# SPDX-License-Identifier: ISC
# The row slow: what 150 destinations that answer get while 50 others do not, or take their time.
package Bench::Slow;
use strict;
use warnings;
use Bench::Lab;
use Gatepost::Kit;

my ($LIVE, $DEAD, $SLOW) = (150, 25, 25);
my $has_network;

# Addresses to which nothing answers, not even an error: behind a neighbour that does not exist.
sub _unreachable {
    return if $has_network++;
    sh(qw(ip link add gone0 type veth peer name gone1));
    sh(qw(ip link set), $_, 'up') for qw(gone0 gone1);
    sh(qw(ip addr add 10.9.0.1/24 dev gone0));
    sh(qw(ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev gone0 nud permanent));
    sh(qw(ip route add 10.9.1.0/24 via 10.9.0.2));
}

# Settings: users Nuser go to the destinations in turn, users Nslow to those that let us wait.
sub settings {
    my ($dir, $port, $slow_port, $most) = @_;
    _unreachable();
    my @live = map {"[127.0.1.$_]:$port"} 1 .. $LIVE;
    my @slow = ((map {"[127.0.2.$_]:$slow_port"} 1 .. $SLOW), map {"[10.9.1.$_]:$port"} 1 .. $DEAD);
    spew("$dir/slow-routes", join '', map {
        "${_}user\@next.example smtp:$live[$_ % @live]\n${_}slow\@next.example smtp:$slow[$_ % @slow]\n"
    } 0 .. $most);
    return (transport_maps => "texthash:$dir/slow-routes");
}

# Messages a second at the live ones. with: 0, or so many for the others that wait already.
sub once {
    my ($mta, $root, $port, $slow_port, $count, $with) = @_;
    my $sink = sink_start(build(), $port, $count, '-a', '0.0.0.0');
    my $slow = sink_start(build(), $slow_port, 0, '-a', '0.0.0.0', '-d', 10);
    my @numbered = (concurrency => 50, numbered => 1, reuse => 1);
    if ($with) {
        my (undef, undef, $error) = load($root, $mta->port, @numbered, count => $with, to => 'slow@next.example');
        die $error if $error;
    }
    my ($start, undef, $error) = load($root, $mta->port, @numbered, count => $count);
    die $error if $error;
    my ($n, undef, undef, $last) = sink_result($sink, 120);
    sink_stop($_) for $sink, $slow;
    # What has not come by then counts as having taken that long.
    return $n >= $count ? $n / ($last - $start) : $n / (mono() - $start);
}

1;
