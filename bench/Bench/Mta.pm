# SPDX-License-Identifier: ISC
# The two mail systems under measurement, each made afresh on a given file system.
# Both relay everything from the loopback address to one next hop; both write a log file; neither
# looks up client names; both have every message on disk before they say 250.
package Bench::Mta;
use strict;
use warnings;
use Bench::Lab;
use File::Path qw(make_path);
use Gatepost::Kit;
use IO::Socket::INET;
use Time::HiRes qw(sleep);

# new(name, dir => where main.cf goes, queue => where the queue goes, nexthop => '[127.0.0.1]:1';
# cgroup => a name for its account, when there are two of a kind)
sub new {
    my ($class, %arg) = @_;
    my $self = bless { %arg, port => $arg{port} // free_port() }, $class;
    $self->{cg} = cgroup_new($self->{cgroup} // $self->name);
    $self->{log} = "$self->{dir}/log";
    return $self;
}

sub port { $_[0]{port} }
sub cg   { $_[0]{cg} }

# Changes of settings, before start: set(relayhost => '...').
sub set {
    my ($self, %new) = @_;
    $self->{extra} = { %{ $self->{extra} // {} }, %new };
    return $self;
}

# Nothing is left of the run before.
sub clear {
    my ($self) = @_;
    Gatepost::Kit::remove_dir($_, keep_root => 1) for grep { -d } $self->{queue}, $self->{dir};
    make_path($self->{queue}, $self->{dir});
    chmod 0755, $self->{queue}, $self->{dir};
}

sub fresh {
    my ($self) = @_;
    $self->prepare;
    return $self;
}

sub main_cf {
    my ($self, %cf) = @_;
    %cf = (%cf, %{ $self->{extra} // {} });
    spew("$self->{dir}/main.cf", join '', map {"$_ = $cf{$_}\n"} sort keys %cf);
}

sub wait_ready {
    my ($self) = @_;
    wait_until(20, sub {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}) or return;
        return (<$s> // '') =~ /^220/;
    }) or die $self->name . " does not answer:\n" . tail($self->{log}, 15) . "\n"
        . tail("$self->{dir}/out", 15) . "\n";
    return $self;
}

sub start {
    my ($self, @wrap) = @_;
    my $pid = start_in_cgroup($self->{cg}, "$self->{dir}/out", @wrap, $self->start_command);
    $self->{front} = $pid;
    Gatepost::Kit::adopt($pid);
    return $self->wait_ready;
}

sub stop {
    my ($self) = @_;
    return if !cgroup_pids($self->{cg});
    system $self->stop_command;
    wait_until(20, sub { waitpid($self->{front}, POSIX::WNOHANG()); !cgroup_pids($self->{cg}) })
        or kill 'KILL', cgroup_pids($self->{cg});
    wait_until(5, sub { waitpid($self->{front}, POSIX::WNOHANG()); !cgroup_pids($self->{cg}) });
}

# Waiting messages: files of the deferred directory.
sub deferred {
    my ($self) = @_;
    my $dir = $self->queue_dir . '/deferred';
    return -d $dir ? scalar split /\n/, sh('find', $dir, '-type', 'f') : 0;
}

# All that waits is to be tried now.
sub flush {
    my ($self) = @_;
    system($self->flush_command) == 0 or die $self->name . ": cannot flush\n";
}

sub kill_all {
    my ($self) = @_;
    wait_until(10, sub {
        kill 'KILL', cgroup_pids($self->{cg});
        1 while waitpid(-1, POSIX::WNOHANG()) > 0;
        !cgroup_pids($self->{cg});
    });
}

package Bench::Postfix;
use parent -norequire, 'Bench::Mta';
use Bench::Lab;
use Gatepost::Kit;

sub name { 'postfix' }

# Its files are seen under the same name inside and outside of its root (bench/run mounts them).
sub prepare {
    my ($self) = @_;
    my $limit = $self->{process_limit} // 450;
    $self->main_cf(
        compatibility_level => '3.6', queue_directory => $self->{queue},
        data_directory => '/var/lib/postfix', maillog_file => $self->{log},
        maillog_file_prefixes => '/', syslog_name => 'postfix',
        myhostname => 'bench.example', mydestination => '', mynetworks => '127.0.0.0/8',
        inet_interfaces => '127.0.0.1', inet_protocols => 'ipv4', alias_maps => '',
        relayhost => $self->{nexthop}, default_process_limit => $limit, in_flow_delay => 0,
        max_use => 100000, smtpd_client_connection_count_limit => 0,
        smtpd_client_connection_rate_limit => 0, smtpd_peername_lookup => 'no',
        smtpd_recipient_restrictions => 'permit_mynetworks, reject',
        default_destination_concurrency_limit => 50, initial_destination_concurrency => 20,
        disable_dns_lookups => 'yes', qmgr_message_active_limit => 50000,
        qmgr_message_recipient_limit => 50000, enable_long_queue_ids => 'yes',
        smtpd_timeout => '600s');
    my @services = (
        "$self->{port} inet n - n - - smtpd", 'cleanup unix n - n - 0 cleanup',
        'qmgr unix n - n 300 1 qmgr', 'pickup unix n - n 60 1 pickup', 'rewrite unix - - n - - trivial-rewrite',
        'bounce unix - - n - 0 bounce', 'defer unix - - n - 0 bounce',
        'lmtp unix - - n - - lmtp', 'virtual unix - n n - - virtual', 'trace unix - - n - 0 bounce', 'verify unix - - n - 1 verify',
        'flush unix n - n 1000? 0 flush', 'proxymap unix - - n - - proxymap',
        'smtp unix - - n - - smtp', 'relay unix - - n - - smtp', 'error unix - - n - - error',
        'retry unix - - n - - error', 'discard unix - - n - - discard',
        'anvil unix - - n - 1 anvil', 'scache unix - - n - 1 scache',
        'tlsmgr unix - - n 1000? 1 tlsmgr', 'postlog unix-dgram n - n - 1 postlogd');
    spew("$self->{dir}/master.cf", join '', map {"$_\n"} @services, @{ $self->{services} // [] });
}

# start-fg becomes the master itself; the queue's directories are made by this script.
sub start_command {
    my ($self) = @_;
    return ('chroot', $self->{root}, 'postfix', '-c', $self->{dir}, 'start-fg');
}

sub stop_command {
    my ($self) = @_;
    return ('chroot', $self->{root}, 'postfix', '-c', $self->{dir}, 'stop');
}

sub flush_command {
    my ($self) = @_;
    return ('chroot', $self->{root}, 'postqueue', '-c', $self->{dir}, '-f');
}

sub queue_dir { $_[0]{queue} }

# Messages in the queue, by a look at its directories.
sub queued {
    my ($self) = @_;
    return scalar split /\n/, sh('find', map({"$self->{queue}/$_"} qw(incoming active deferred)),
        '-type', 'f');
}

package Bench::Gatepost;
use parent -norequire, 'Bench::Mta';
use Bench::Lab;
use Gatepost::Kit;

sub name { 'gatepost' }

sub prepare {
    my ($self) = @_;
    my $limit = $self->{process_limit} // 450;
    $self->main_cf(
        compatibility_level => '3.6', queue_directory => "$self->{queue}/queue",
        data_directory => "$self->{queue}/data", maillog_file => $self->{log},
        daemon_directory => build() . '/libexec', command_directory => build() . '/sbin',
        myhostname => 'bench.example', mydestination => '', mynetworks => '127.0.0.0/8',
        inet_interfaces => '127.0.0.1', inet_protocols => 'ipv4', alias_maps => '',
        relayhost => $self->{nexthop}, smtpd_client_connection_count_limit => 0,
        smtpd_client_connection_rate_limit => 0, smtpd_peername_lookup => 'no',
        smtpd_recipient_restrictions => 'permit_mynetworks, reject',
        default_destination_concurrency_limit => 50, initial_destination_concurrency => 20,
        disable_dns_lookups => 'yes', default_process_limit => $limit,
        qmgr_message_active_limit => 50000, qmgr_message_recipient_limit => 50000,
        enable_long_queue_ids => 'yes', smtpd_timeout => '600s');
    my @services = (
        "$self->{port} inet n - n - - smtpd", 'cleanup unix n - n - 0 cleanup',
        'qmgr unix n - n 300 1 qmgr ' . ($self->{qmgr_options} // ''), 'smtp unix - - n - - smtp', 'relay unix - - n - - smtp',
        'lmtp unix - - n - - lmtp', 'virtual unix - n n - - virtual',
        'error unix - - n - - error', 'retry unix - - n - - retry',
        'discard unix - - n - - discard');
    spew("$self->{dir}/master.cf", join '', map {"$_\n"} @services, @{ $self->{services} // [] });
}

sub start_command { (build() . '/sbin/gatepost', '-c', $_[0]{dir}, 'start-fg') }
sub stop_command  { (build() . '/sbin/gatepost', '-c', $_[0]{dir}, 'stop') }

# Messages that qmgr's walk through the directories has found, when it is over (log_level debug).
sub known {
    my ($self) = @_;
    my @found = (slurp($self->{log}) // '') =~ /all directories are read: (\d+) deferred/g;
    return $found[-1] // 0;
}

sub flush_command { (build() . '/sbin/gateq', '-c', $_[0]{dir}, 'flush') }
sub queue_dir     { "$_[0]{queue}/queue" }

sub queued {
    my ($self) = @_;
    my ($status, $out) = run_out(build() . '/sbin/gateq', '-c', $self->{dir}, 'list', '--json');
    return $status ? -1 : scalar split /\n/, $out;
}

1;
