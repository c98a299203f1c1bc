# SPDX-License-Identifier: ISC
# The measuring room: file systems for the queues, CPU accounts, load generator, sink, statistics.
package Bench::Lab;
use strict;
use warnings;
use Exporter 'import';
use File::Path qw(make_path);
use Gatepost::Kit;
use IO::Socket::INET;
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);

our @EXPORT = qw(mono median spread sh make_disks cgroup_new cgroup_cpu cgroup_pids pss largest
    mount_image drop_image     start_in_cgroup sink_start sink_result sink_stop load one_message loadavg file_system idle_sessions idle_crowd);

my $cgroot;
my @cgroups;

sub mono { clock_gettime(CLOCK_MONOTONIC) }

sub sh {
    my @cmd = @_;
    my ($status, $out) = run_out(@cmd);
    die "@cmd: status $status\n$out" if $status;
    return $out;
}

sub median {
    my @v = sort { $a <=> $b } @_;
    return if !@v;
    return @v % 2 ? $v[$#v / 2] : ($v[@v / 2 - 1] + $v[@v / 2]) / 2;
}

# "median (min..max)" by a printf format for one number.
sub spread {
    my ($format, @v) = @_;
    @v = grep {defined} @v;
    return '-' if !@v;
    my ($min, $max) = (sort { $a <=> $b } @v)[0, -1];
    return sprintf $format, $v[0] if @v == 1;
    return sprintf "$format ($format..$format)", median(@v), $min, $max;
}

# A journaled ext4 file system of its own at DIR, in the file DIR.img; both go at the end.
sub mount_image {
    my ($dir, $megabytes, @options) = @_;
    make_path($dir);
    unlink "$dir.img";
    sh('fallocate', '-l', "${megabytes}M", "$dir.img");
    sh('mkfs.ext4', '-q', '-F', @options, "$dir.img");
    sh('mount', '-o', 'loop,noinit_itable', "$dir.img", $dir);
    Gatepost::Kit::at_end(sub { drop_image($dir) });
}

sub drop_image {
    my ($dir) = @_;
    return if !-e "$dir.img";
    system 'umount', '-l', $dir;
    unlink "$dir.img";
}

# Where the queues live: a journaled ext4 image, and the file system of DIR itself.
sub make_disks {
    my ($dir, $megabytes, @wanted) = @_;
    my %disk;
    for my $name (@wanted) {
        make_path("$dir/$name");
        mount_image("$dir/$name", $megabytes) if $name eq 'ext4';
        chmod 0755, "$dir/$name";
        $disk{$name} = "$dir/$name";
    }
    return \%disk;
}

# ---- CPU time of all processes of one system under test ----

sub cgroup_new {
    my ($name) = @_;
    ($cgroot) = grep { -e "$_/cgroup.procs" && -e "$_/cgroup.controllers" }
        '/sys/fs/cgroup/unified', '/sys/fs/cgroup';
    die "no cgroup v2 file system: CPU time cannot be measured\n" if !$cgroot;
    my $cg = "$cgroot/gatepost-bench-$$-$name";
    mkdir $cg or -d $cg or die "$cg: $!";
    push @cgroups, $cg;
    return $cg;
}

sub cgroup_cpu {
    my ($cg) = @_;
    return slurp("$cg/cpu.stat") =~ /^usage_usec (\d+)/m ? $1 / 1e6 : 0;
}

sub cgroup_pids { split ' ', slurp("$_[0]/cgroup.procs") // '' }

# Proportional set size of all processes together, in KB.
sub pss {
    my ($cg) = @_;
    my $sum = 0;
    for my $pid (cgroup_pids($cg)) {
        $sum += $1 if (slurp("/proc/$pid/smaps_rollup") // '') =~ /^Pss:\s+(\d+) kB/m;
    }
    return $sum;
}

# The most memory that one process had, in MB.
sub largest {
    my ($cg) = @_;
    my @kb = map { (slurp("/proc/$_/status") // '') =~ /^VmHWM:\s+(\d+) kB/m ? $1 : 0 } cgroup_pids($cg);
    return (sort { $b <=> $a } @kb, 0)[0] / 1024;
}

# Runs a command inside the group and waits for it; what it leaves behind stays in the group.
sub start_in_cgroup {
    my ($cg, $log, @cmd) = @_;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        open my $fh, '>', "$cg/cgroup.procs" or POSIX::_exit(126);
        print $fh $$;
        close $fh;
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;
        { no warnings; exec @cmd; }
        POSIX::_exit(127);
    }
    return $pid;
}

Gatepost::Kit::at_end(sub {
    for my $cg (@cgroups) {
        kill 'KILL', cgroup_pids($cg);
        wait_until(5, sub { 1 while waitpid(-1, POSIX::WNOHANG()) > 0; !cgroup_pids($cg) });
        rmdir $cg;
    }
});

# ---- sink and load ----

sub sink_start {
    my ($build, $port, $count, @options) = @_;
    pipe my $out, my $in or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        open STDOUT, '>&', $in;
        { no warnings; exec "$build/bench/sink", @options, '-n', $count, $port; }
        POSIX::_exit(127);
    }
    Gatepost::Kit::adopt($pid);
    close $in;
    my $line = <$out> // '';
    $line eq "ready\n" or die "bench/sink did not start; run make in $build\n";
    return { pid => $pid, out => $out, count => $count };
}

# Waits for the last message; returns (messages, sessions, time of first, time of last).
sub sink_result {
    my ($sink, $seconds) = @_;
    my $line;
    eval {
        local $SIG{ALRM} = sub { die "late\n" };
        alarm $seconds;
        do { $line = readline $sink->{out} } while defined $line && $line =~ /^at /;
        alarm 0;
    };
    alarm 0;
    if (!defined $line) {
        kill 'TERM', $sink->{pid};
        $line = readline $sink->{out};
    }
    return split ' ', $line // '0 0 0 0';
}

sub sink_stop {
    my ($sink) = @_;
    stop_pid($sink->{pid});
    close $sink->{out};
}

# smtp-source: COUNT messages over CONCURRENCY sessions, to 1user@..., 2user@... with rcpts; one each with numbered. Returns (start, end, error text).
sub load {
    my ($root, $port, %arg) = @_;
    my @cmd = (
        "$root/usr/sbin/smtp-source", '-s', $arg{concurrency}, '-m', $arg{count},
        '-l', $arg{size} // 4096, '-f', 'sender@client.example', '-t', $arg{to} // 'user@next.example',
        ($arg{numbered} ? '-N' : ()), ($arg{reuse} ? '-d' : ()), ($arg{rcpts} ? ('-r', $arg{rcpts}) : ()), "127.0.0.1:$port");
    local $ENV{LD_LIBRARY_PATH} = "$root/usr/lib/postfix";
    my $start = mono();
    my ($status, $out) = run_out(@cmd);
    return ($start, mono(), $status ? "smtp-source: $out" : '');
}

# One message of 4 KB by a session of its own, to a sink that tells of each (-v). Returns milliseconds
# from the dot to 250 and to the sink, and the time when it was there.
sub one_message {
    my ($port, $sink) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!\n";
    setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
    <$s>;
    for ("EHLO x\r\n", "MAIL FROM:<a\@client.example>\r\n", "RCPT TO:<b\@next.example>\r\n", "DATA\r\n") {
        syswrite $s, $_;
        while (my $line = <$s>) { last if $line =~ /^\d{3} / }
    }
    syswrite $s, "Subject: latency\r\n\r\n" . ('x' x 70 . "\r\n") x 55;
    sleep 0.005;
    my $dot = mono();
    syswrite $s, ".\r\n";
    my $reply = <$s> // '';
    my $accept = 1000 * (mono() - $dot);
    $reply =~ /^250/ or die "reply: $reply\n";
    my ($at) = (readline($sink->{out}) // '') =~ /^at (\S+)/ or die "the sink is gone\n";
    return ($accept, 1000 * ($at - $dot), $at);
}

# What else the machine does: processes that run or wait for the disk, over the last minute.
sub loadavg { (split ' ', slurp('/proc/loadavg'))[0] }

# "ext4 on /dev/vda" of a directory.
sub file_system {
    my ($dir) = @_;
    my ($source, $type) = split ' ', sh('findmnt', '-n', '-o', 'SOURCE,FSTYPE', '-T', $dir);
    return "$type on " . $source =~ s/\[.*//r;
}

# N sessions that have said EHLO and then wait. Returns the open sockets.
sub idle_sessions {
    my ($port, $n) = @_;
    my @open;
    while (@open < $n) {
        my $batch = $n - @open < 50 ? $n - @open : 50;
        my @new = map {
            IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 10)
                or die 'session ' . (@open + 1) . ": $!\n"
        } 1 .. $batch;
        for my $s (@new) {
            my $greeting = <$s> // 'nothing';
            $greeting =~ /^220/ or die 'session ' . (@open + 1) . ": $greeting";
            syswrite $s, "EHLO idle.example\r\n";
        }
        for my $s (@new) {
            while (my $line = <$s>) { last if $line =~ /^250 / }
        }
        push @open, @new;
    }
    return @open;
}

# The same, held by two processes for the limit of descriptors; returns what ends them.
sub idle_crowd {
    my ($port, $n) = @_;
    my @pids;
    for my $part (int($n / 2), $n - int($n / 2)) {
        pipe my $out, my $in or die "pipe: $!";
        defined(my $pid = fork) or die "fork: $!";
        if (!$pid) {
            my @open = eval { idle_sessions($port, $part) };
            print $in @open == $part ? "ok\n" : $@ || "failed\n";
            close $in;
            sleep 3600;
            POSIX::_exit(0);
        }
        Gatepost::Kit::adopt($pid);
        close $in;
        push @pids, $pid;
        my $line = <$out> // 'nothing';
        $line eq "ok\n" or die "idle sessions: $line";
    }
    return sub { stop_pid($_, 'KILL') for @pids };
}

1;
