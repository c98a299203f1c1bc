# SPDX-License-Identifier: ISC
# The rows deferred and growth: an instance beside whose mail very much waits that is not due.
package Bench::Million;
use strict;
use warnings;
use Bench::Lab;
use Bench::Mta;
use Gatepost::Kit;
use Time::HiRes qw(sleep);

my $DUE = 100_000;    # seconds until the first of them is due
my (%made, $image);

# A place for COUNT messages: removing an image takes a moment, removing a million files where
# freed blocks are discarded a quarter of an hour.
sub image {
    my ($dir, $count) = @_;
    mount_image($dir, 3000 + int($count * 0.014), '-i', 8192) if !$image;
    return $image = $dir;
}

# A stopped instance with COUNT deferred messages; the same one when it is asked for again.
sub instance {
    my ($work, $disk, $count, $long) = @_;
    my $name = "waiting-$count";
    return $made{$name} if $made{$name};
    my $mta = Bench::Gatepost->new(dir => "$work/$name", queue => "$disk/$name", cgroup => $name,
        nexthop => '[127.0.0.1]:' . free_port(),
        # It alone says when it has read all directories.
        qmgr_options => '-o log_level=debug');
    $mta->clear;
    # Nothing waits longer than this: none of them is due while we look.
    $mta->set(maximal_backoff_time => '10d', maximal_queue_lifetime => '30d', enable_long_queue_ids => $long ? 'yes' : 'no');
    $mta->fresh->start;
    $mta->stop;
    my $queue = $mta->queue_dir;
    my $begin = mono();
    sh(build() . '/bench/fill', $queue, $count, $DUE, $long ? 'long' : ());
    sh('chown', '-R', "--reference=$queue/deferred", "$queue/deferred");
    sh('sync', '-f', $queue);
    $mta->{made} = mono() - $begin;
    return $made{$name} = $mta;
}

# Removes all of them; how long that took.
sub clear {
    my $begin = mono();
    for my $mta (values %made) {
        $mta->stop;
        $mta->clear if !$image;
    }
    drop_image($image) if $image;
    undef $image;
    %made = ();
    return mono() - $begin;
}

# As after a boot: names and inodes of the queue are on the disk alone.
sub _forget_caches { sh('sh', '-c', 'sync; echo 3 > /proc/sys/vm/drop_caches') }

sub _nexthop_port { $_[0]{nexthop} =~ /:(\d+)$/ ? $1 : die 'no port' }

# Starts it; a hash of seconds: serving (220), delivered (the first new message has arrived), known (all
# that waits); and of milliseconds: accept and through, of messages that came while it read.
sub start {
    my ($mta, $count) = @_;
    spew($mta->{log}, '');
    _forget_caches();
    my $sink = sink_start(build(), _nexthop_port($mta), 0, '-v');
    my %r = (load => loadavg());
    my $start = mono();
    $mta->start;
    $r{serving} = mono() - $start;
    (undef, undef, my $at) = one_message($mta->port, $sink);
    $r{delivered} = $at - $start;
    while ($mta->known < $count) {
        mono() - $start < 600 or die "only " . $mta->known . " of $count are known\n";
        my ($accept, $through) = one_message($mta->port, $sink);
        push @{ $r{accept} }, $accept;
        push @{ $r{through} }, $through;
        sleep 0.05;
    }
    $r{known} = mono() - $start;
    sink_stop($sink);
    return \%r;
}

# Percent of one core, over all processes, while nothing is done.
sub idle_cpu {
    my ($mta, $seconds) = @_;
    my ($cpu, $start) = (cgroup_cpu($mta->cg), mono());
    sleep $seconds;
    return 100 * (cgroup_cpu($mta->cg) - $cpu) / (mono() - $start);
}

# MB of qmgr and of its keeper: their share of what is resident (PSS), and the most that was (RSS).
sub memory {
    my ($mta) = @_;
    my %mb;
    for my $pid (cgroup_pids($mta->cg)) {
        (slurp("/proc/$pid/comm") // '') =~ /^qmgr/ or next;
        my $who = (slurp("/proc/$pid/cmdline") // '') =~ /keeper/ ? 'keeper' : 'qmgr';
        $mb{$who} = (slurp("/proc/$pid/smaps_rollup") // '') =~ /^Pss:\s+(\d+) kB/m ? $1 / 1024 : 0;
        $mb{"${who}_most"} = (slurp("/proc/$pid/status") // '') =~ /^VmHWM:\s+(\d+) kB/m ? $1 / 1024 : 0;
    }
    defined $mb{qmgr} && defined $mb{keeper} or die "qmgr and keeper are not to be found\n";
    return \%mb;
}

1;
