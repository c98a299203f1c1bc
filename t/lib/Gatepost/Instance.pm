# SPDX-License-Identifier: ISC
# A whole Gatepost in a temporary directory that is gone, with all its processes, when the test ends.
#
#   my $gp = Gatepost::Instance->new(
#       main   => { relayhost => '[127.0.0.1]:' . $sink->port },    # over the defaults below
#       master => ['local unix - n n - - local'],                    # further lines, -o allowed
#       before => 'NAME=VALUE ...',                                  # environment of the daemons
#   );
#   $gp->start;                          # a test; or try_start: (exit status, output)
#   my $c = $gp->client;                 # Gatepost::Smtp, connected
#   $gp->wait_log(qr/status=sent/);      # a test; the matching line, from the last mark() on
#   $gp->kill_role('qmgr');              # SIGKILL; roles: master smtpd cleanup qmgr keeper ...
package Gatepost::Instance;
use strict;
use warnings;
use File::Path qw(make_path);
use Gatepost::Kit;
use Gatepost::Smtp;
use Test::More ();
use Time::HiRes qw(time);

my $users_made;

sub new {
    my ($class, %arg) = @_;
    subreaper();
    if ($> == 0 && !$users_made++) {
        my ($status, $out) = run_out(src() . '/t/lib/make-users');
        die "make-users: $out" if $status;
    }
    my $dir = $arg{dir} // tempdir('gp');
    my $daemons = daemons($dir, $arg{before});
    my $self = bless {
        dir => $dir, addr => $arg{addr} // '127.0.0.1', marks => 0,
        log => $arg{log} // "$dir/log", line => $arg{line} // {},
    }, $class;
    $self->{port} = $arg{port} // free_port($self->{addr});
    $self->{main} = {
        compatibility_level => '3.6',
        queue_directory => "$dir/queue", data_directory => "$dir/data",
        daemon_directory => $daemons, command_directory => build() . '/sbin',
        maillog_file => $self->{log}, myhostname => 'mx.example', mydomain => 'example',
        mydestination => '', mynetworks => '127.0.0.0/8', inet_interfaces => $self->{addr},
        inet_protocols => 'ipv4', alias_maps => '', local_recipient_maps => '',
        smtpd_recipient_restrictions => 'permit_mynetworks, reject',
        smtpd_client_connection_count_limit => 0, smtpd_peername_lookup => 'no', notify_classes => '',
        minimal_backoff_time => '1s', maximal_backoff_time => '2s',
        %{ $arg{main} // {} },
    };
    $self->{services} = $arg{services} // [
        "$self->{port} inet n - n - - smtpd", 'cleanup unix n - n - 0 cleanup',
        'qmgr unix n - n 300 1 qmgr', 'smtp unix - - n - - smtp-client',
        'relay unix - - n - - smtp-client', 'lmtp unix - - n - - smtp-client -l',
        'error unix - - n - - error', 'retry unix - - n - - retry',
        'discard unix - - n - - discard', 'local unix - n n - - local',
        'virtual unix - n n - - virtual',
    ];
    push @{ $self->{services} }, @{ $arg{master} // [] };
    $self->write_config;
    Gatepost::Kit::at_end(sub { $self->_end });
    return $self;
}

# A sanitizer's report would be lost: daemons have no terminal, no files and a fixed environment.
# Those of such a build are started by a script that gives them a file for it, and turns off the
# leak check, which must trace a process that nobody may trace.
sub daemons {
    my ($dir, $before) = @_;
    my $built = build() . '/libexec';
    my $is_sanitized = (slurp(build() . '/config.h') // '') =~ /^#define GP_SANITIZE/m;
    return $built if !$is_sanitized && !$before;
    my ($daemons, $report) = ("$dir/libexec", "$dir/sanitizer");
    make_path($daemons);
    for my $name (map {s{.*/}{}r} glob "$built/*") {
        # master opens its file when it has something to say: it closes what it is given.
        my $path = $name eq 'master' ? ":log_path=$report" : '';
        my $options = $is_sanitized ? "ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0$path"
            . " UBSAN_OPTIONS=print_stacktrace=1$path" : '';
        my $errors = $is_sanitized ? " 2>>$report" : '';
        spew("$daemons/$name",
            "#!/bin/sh\n$options " . ($before // '') . " exec $built/$name \"\$@\"$errors\n");
        chmod 0755, "$daemons/$name";
    }
    return $daemons;
}

sub sanitizer_reports { join '', map { slurp($_) // '' } glob "$_[0]{dir}/sanitizer*" }

sub dir   { $_[0]{dir} }
sub port  { $_[0]{port} }
sub queue { $_[0]{main}{queue_directory} }

sub write_config {
    my ($self) = @_;
    my %cf = %{ $self->{main} };
    spew("$self->{dir}/main.cf",
        join '', map {"$_ = $cf{$_}\n"} grep { defined $cf{$_} } sort keys %cf);
    spew("$self->{dir}/master.cf", join '', map {"$_\n"} @{ $self->{services} });
}

# Changes parameters (undef: takes one out) and writes main.cf; takes effect at the next reload.
sub set {
    my ($self, %new) = @_;
    $self->{main} = { %{ $self->{main} }, %new };
    $self->write_config;
    return $self;
}

# Runs one of the commands on this instance: tool('gateq', 'list'). Returns (status, output).
sub tool {
    my ($self, $name, @args) = @_;
    return run_out(build() . "/sbin/$name", ($name eq 'sendmail' ? '-C' : '-c'), $self->{dir}, @args);
}

sub try_start { $_[0]->tool('gatepost', 'start') }

sub _step {
    my ($self, $action) = @_;
    my ($status, $out) = $self->tool('gatepost', $action);
    local $Test::Builder::Level = $Test::Builder::Level + 2;
    Test::More::ok($status == 0, "gatepost $action")
        or Test::More::diag("status $status\n$out\n" . tail($self->{log}, 20));
    $self->{started} = $action ne 'stop' if !$status;
    Test::More::BAIL_OUT("the instance does not start") if $status && $action eq 'start' && $ENV{GP_BAIL};
    return !$status;
}

sub start   { $_[0]->_step('start') }
sub stop    { $_[0]->_step('stop') }
sub reload  { $_[0]->_step('reload') }
sub restart { $_[0]->_step('restart') }

sub client {
    my ($self, %arg) = @_;
    return Gatepost::Smtp->new(host => $self->{addr}, port => $self->{port}, %arg);
}

# A client that has said EHLO, or nothing within SECONDS.
sub session {
    my ($self, $seconds) = @_;
    return wait_until($seconds // 10, sub {
        my $c = $self->client(timeout => 30) or return;
        return $c->hello ? $c : undef;
    });
}

# One message in a session of its own. Returns the deciding reply.
sub mail {
    my ($self, $from, $to, $content, %arg) = @_;
    my $c = $self->session or return { code => 0, text => 'no session' };
    my $r = $c->mail($from, $to, $content, %arg);
    $c->quit;
    return $r;
}

# ---- log ----

# Later wait_log and log_lines look only at what comes after this.
sub mark { $_[0]{marks} = -s $_[0]{log} || 0 }

sub log_lines {
    my ($self, $pattern) = @_;
    # A line without its end is being written.
    my @lines = split /\n/, appended($self->{log}, $self->{marks}) =~ s/[^\n]+\z//r;
    return $pattern ? grep { $_ =~ $pattern } @lines : @lines;
}

# The same over the whole log, whatever was marked.
sub all_lines {
    my ($self, $pattern) = @_;
    local $self->{marks} = 0;
    return $self->log_lines($pattern);
}

# The first line that matches, when it comes within SECONDS.
sub find_log {
    my ($self, $pattern, $seconds) = @_;
    return wait_until($seconds // 15, sub { ($self->log_lines($pattern))[0] });
}

sub wait_log {
    my ($self, $pattern, $name, $seconds) = @_;
    my $line = $self->find_log($pattern, $seconds);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok($line, $name // "log: $pattern")
        or Test::More::diag("end of the log:\n" . tail($self->{log}, 20));
    return $line;
}

# ---- queue ----

sub queue_list {
    my ($self) = @_;
    my ($status, $out) = $self->tool('gateq', 'list', '--json');
    return $status ? undef : grep {/^\{/} split /\n/, $out;
}

# True when nothing is queued any more.
sub drained {
    my ($self, $seconds) = @_;
    return wait_until($seconds // 30, sub {
        my ($status, $out) = $self->tool('gateq', 'list', '--json');
        return !$status && $out !~ /^\{/m;
    });
}

# ---- processes ----

sub master_pid {
    my ($self) = @_;
    my ($status, $out) = $self->tool('gatepost', 'status');
    return $out =~ /^gatepost: running, pid (\d+)/m ? $1 : undef;
}

# { role => [pids] } of what runs. The keeper is the qmgr process whose parent is qmgr. A child of
# master's that has not begun its program yet is nobody.
sub roles {
    my ($self) = @_;
    my $master = $self->{master} && is_alive($self->{master}) ? $self->{master} : $self->master_pid;
    return {} if !$master;
    $self->{master} = $master;
    my %roles;
    my @todo = ([$master, '']);
    while (my $item = shift @todo) {
        my ($pid, $parent) = @$item;
        next if !is_alive($pid);
        my $exe = readlink("/proc/$pid/exe") // next;
        my $name = $exe =~ s{ \(deleted\)$}{}r =~ s{.*/}{}r;
        next if $name eq 'master' && $pid != $master;
        $name = 'master' if $pid == $master;
        $name = 'keeper' if $name eq 'qmgr' && $parent =~ /^(?:qmgr|keeper)$/;
        push @{ $roles{$name} }, $pid;
        push @todo, map { [$_, $name] } children_of($pid);
    }
    return \%roles;
}

# Kills one process of a role; which one, if there are more, is told by PICK. Returns its pid.
sub kill_role {
    my ($self, $role, $pick, $signal) = @_;
    my @pids = @{ $self->roles->{$role} // [] };
    return if !@pids;
    my $pid = $pids[($pick // 0) % @pids];
    kill $signal // 'KILL', $pid;
    wait_until(5, sub { waitpid($pid, POSIX::WNOHANG()); !is_alive($pid) });
    return $pid;
}

# Kills every process at once, as a power cut would. True when all are gone: one that dies holds its locks
# until it has given back its memory, which under sanitizers takes a while, and has no name meanwhile.
sub kill_all {
    my ($self, $seconds) = @_;
    my @pids = map { @$_ } values %{ $self->roles };
    kill_at_once(@pids);
    return @pids && wait_until($seconds // 20, sub { !grep { is_alive($_) } @pids });
}

sub _end {
    my ($self) = @_;
    if (Gatepost::Kit::failed() && -e $self->{log}) {
        my $text = tail($self->{log}, 40) =~ s/^/# /mgr;
        print STDERR "# end of $self->{log}:\n$text\n";
    }
    $self->tool('gatepost', 'stop') if $self->{started} && -x build() . '/sbin/gatepost';
    my $master = $self->{master};
    kill 'KILL', Gatepost::Kit::descendants($master) if $master && is_alive($master);
    my $reports = $self->sanitizer_reports;
    return if $reports !~ /ERROR: |runtime error/;
    print STDERR $reports =~ s/^/# /mgr;
    Gatepost::Kit::fail();
}

1;
