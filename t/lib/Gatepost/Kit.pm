# SPDX-License-Identifier: ISC
# What every end-to-end test needs: temporary directories that unprivileged users may enter, free
# ports, waiting for something to become true, and child processes that never outlive the test.
package Gatepost::Kit;
use strict;
use warnings;
use Exporter 'import';
use Fcntl qw(:flock);
use File::Path qw(make_path);
use File::Temp ();
use IO::Socket::INET;
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(tempdir free_port wait_until slurp spew appended spawn stop_pid is_alive kill_at_once
    run_ok run_out subreaper need build src tail children_of raise_files);

my $owner = $$;
my (@dirs, %children, @locks, @at_end, $has_failed);
$| = 1;
$SIG{$_} //= sub { exit 130 } for qw(INT TERM HUP);

sub src   { $ENV{GP_SRC}   // die "GP_SRC is not set; run the test by t/run\n" }
sub build { $ENV{GP_BUILD} // die "GP_BUILD is not set; run the test by t/run\n" }

# A directory under /tmp that everybody may enter; removed at the end, kept with GP_KEEP=1.
sub tempdir {
    my ($name) = @_;
    my $dir = File::Temp::mkdtemp('/tmp/gp-' . ($name // 'test') . '-XXXXXX');
    chmod 0755, $dir or die "chmod $dir: $!";
    push @dirs, $dir;
    return $dir;
}

# A port below the range for outgoing connections, locked against other tests until this one ends.
sub free_port {
    my ($addr) = @_;
    make_path('/tmp/gp-ports', { mode => 0777 });
    for (1 .. 2000) {
        my $port = 10000 + int rand 22000;
        open my $lock, '>>', "/tmp/gp-ports/$port" or next;
        flock $lock, LOCK_EX | LOCK_NB or next;
        my $probe = IO::Socket::INET->new(
            LocalAddr => $addr // '127.0.0.1', LocalPort => $port, Proto => 'tcp',
            Listen => 1, ReuseAddr => 1) or next;
        close $probe;
        push @locks, $lock;
        return $port;
    }
    die "no free port\n";
}

# Calls CODE every 10 ms until it is true; returns its value, or nothing after SECONDS. From 2 on they
# are no bound, only what keeps a test from hanging: on a busy machine it is three times as much, and
# never less than 30 s. Gatepost::Pace has bounds.
sub wait_until {
    my ($seconds, $code) = @_;
    my $deadline = time + ($seconds < 2 ? $seconds : $seconds < 10 ? 30 : 3 * $seconds);
    my $pause = 0.005;
    while (1) {
        # Whoever did not run himself meanwhile looks once more.
        my $is_last = time > $deadline;
        my $value = $code->();
        return $value if $value;
        return if $is_last;
        sleep $pause;
        $pause *= 1.3 if $pause < 0.05;
    }
}

sub slurp {
    my ($path) = @_;
    open my $fh, '<:raw', $path or return;
    local $/;
    return scalar(<$fh>) // '';
}

sub spew {
    my ($path, $text) = @_;
    open my $fh, '>:raw', "$path.new" or die "$path: $!";
    print $fh $text;
    close $fh or die "$path: $!";
    chmod 0644, "$path.new";
    rename "$path.new", $path or die "$path: $!";
    return $path;
}

sub appended {
    my ($path, $offset) = @_;
    open my $fh, '<:raw', $path or return '';
    seek $fh, $offset, 0;
    local $/;
    return scalar(<$fh>) // '';
}

sub tail {
    my ($path, $lines) = @_;
    my @all = split /\n/, slurp($path) // '';
    splice @all, 0, @all - $lines if @all > $lines;
    return join "\n", @all;
}

# Makes this process adopt what its children leave behind, so that nothing escapes the clean-up.
sub subreaper {
    my %prctl = (x86_64 => 157, aarch64 => 167, riscv64 => 167, i686 => 172, armv7l => 172);
    my $nr = $prctl{(POSIX::uname())[4]} or return;
    return syscall($nr, 36, 1, 0, 0, 0) == 0;
}

# As many descriptors as the machine allows; children inherit it.
sub raise_files {
    system 'prlimit', '--pid', $$, '--nofile=20000:20000';
}

sub children_of {
    my ($pid) = @_;
    my @kids;
    for my $task (glob "/proc/$pid/task/*/children") {
        push @kids, split ' ', slurp($task) // '';
    }
    return @kids;
}

# Running, and not a zombie that waits for its parent.
sub is_alive {
    my ($pid) = @_;
    my $stat = slurp("/proc/$pid/stat") or return 0;
    return $stat !~ /\) [ZX] /;
}

# Starts a command in the background. Options: out (file for both outputs), cwd, env (hash).
sub spawn {
    my ($opt, @cmd) = @_;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        default_signals();
        my $out = $opt->{out} // '/dev/null';
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', $out or POSIX::_exit(127);
        open STDERR, '>&', \*STDOUT;
        chdir $opt->{cwd} if $opt->{cwd};
        %ENV = (%ENV, %{ $opt->{env} // {} });
        { no warnings; exec { $cmd[0] } @cmd; }
        print "cannot run $cmd[0]: $!\n";
        POSIX::_exit(127);
    }
    adopt($pid);
    return $pid;
}

sub default_signals { $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE) }

# A process to kill at the end of the test, with all its descendants.
sub adopt { $children{ $_[0] } = 1 if $_[0] > 1 }

# Code to run at the end of the test, before processes are killed and directories removed.
sub at_end { push @at_end, @_ }

sub descendants {
    my @all;
    my @todo = @_;
    while (defined(my $pid = shift @todo)) {
        push @all, $pid;
        push @todo, children_of($pid);
    }
    return @all;
}

# None of them lives on while another is dead already, to see that, or to take over what that had.
sub kill_at_once {
    my @pids = grep {$_} @_;
    kill 'STOP', @pids;
    return kill 'KILL', @pids;
}

sub stop_pid {
    my ($pid, $signal) = @_;
    kill $signal // 'TERM', $pid;
    my $gone = wait_until(10, sub { waitpid($pid, POSIX::WNOHANG()); !is_alive($pid) });
    kill 'KILL', descendants($pid) unless $gone;
    waitpid $pid, 0;
    delete $children{$pid};
    return $gone;
}

# Runs a command; returns its exit status (256 for a signal) and its output, both streams.
sub run_out {
    my @cmd = @_;
    defined(my $pid = open my $fh, '-|') or die "fork: $!";
    if (!$pid) {
        default_signals();
        open STDIN, '<', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        { no warnings; exec { $cmd[0] } @cmd; }
        print "cannot run $cmd[0]: $!\n";
        POSIX::_exit(127);
    }
    local $/;
    my $out = <$fh> // '';
    close $fh;
    return ($? & 127 ? 256 : $? >> 8, $out);
}

sub run_ok {
    my ($name, @cmd) = @_;
    my ($status, $out) = run_out(@cmd);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok($status == 0, $name) or Test::More::diag("status $status: @cmd\n$out");
    return $out;
}

# A tool that the suite needs: when it is missing the test fails, it is never skipped.
sub need {
    for my $tool (@_) {
        my ($path) = grep { -x } map {"$_/$tool"} split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin';
        next if $path;
        die("$tool is missing; `./quickstart test` installs it\n");
    }
}

# Removes a directory, never anything that is mounted in it: what cannot be unmounted stays.
sub remove_dir {
    my ($dir, %opt) = @_;
    for my $pass (1 .. 3) {
        my @mounts = grep {m{^\Q$dir\E/}} map { (split / /)[1] } split /\n/, slurp('/proc/self/mounts');
        if (!@mounts) {
            system 'find', $dir, '-xdev', ($opt{keep_root} ? ('-mindepth', 1) : ()), '-delete';
            return;
        }
        system 'umount', '-l', $_ for reverse @mounts;
    }
    print STDERR "# not removed, since something is mounted there: $dir\n";
}

# What is seen at the end, when no test can be counted any more.
sub fail { $has_failed = 1 }

sub failed { !Test::More->builder->is_passing }

END {
    if ($$ == $owner) {
        my $status = $?;
        for my $code (@at_end) {
            eval { $code->(); 1 } or print STDERR $@;
        }
        my @kids = descendants(keys %children);
        push @kids, grep { !$children{$_} } descendants(children_of($$));
        kill 'KILL', @kids if @kids;
        # One that was begun just then, too.
        while ((my $pid = waitpid -1, POSIX::WNOHANG()) >= 0) {
            next if $pid;
            sleep 0.01;
            kill 'KILL', descendants(children_of($$));
        }
        for my $dir (@dirs) {
            if ($ENV{GP_KEEP}) { print STDERR "# kept: $dir\n" }
            else               { remove_dir($dir) }
        }
        $? = $status || ($has_failed ? 1 : 0);
    }
}

1;
