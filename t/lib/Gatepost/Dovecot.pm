# SPDX-License-Identifier: ISC
# Dovecot's auth service, and nothing else of it, from Debian's package.
#
#   my $d = Gatepost::Dovecot->new(users => { joe => 'secret' });     # started
#   $d->socket;                              # its UNIX socket
#   $d->stop; $d->start; $d->log;
#
# Further: mechanisms => 'plain login'; port => an inet socket as well; config => more of its settings.
package Gatepost::Dovecot;
use strict;
use warnings;
use Gatepost::Kit;
use IO::Socket::UNIX;

sub new {
    my ($class, %arg) = @_;
    need('dovecot');
    my $dir = $arg{dir} // tempdir('dovecot');
    my $self = bless { dir => $dir }, $class;
    mkdir "$dir/run";
    spew("$dir/users", join '', map {"$_:{PLAIN}$arg{users}{$_}::::::\n"} sort keys %{ $arg{users} });
    my $inet = $arg{port} ? "inet_listener {\n address = 127.0.0.1\n port = $arg{port}\n }" : '';
    spew("$dir/dovecot.conf", <<"END");
base_dir = $dir/run
state_dir = $dir/run
log_path = $dir/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = @{[ $arg{mechanisms} // 'plain' ]}
auth_failure_delay = 0
default_internal_user = dovecot
default_login_user = dovenull
@{[ $arg{config} // '' ]}
passdb {
  driver = passwd-file
  args = $dir/users
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener $dir/auth {
    mode = 0666
  }
  $inet
}
END
    return $self->start;
}

sub socket { "$_[0]{dir}/auth" }
sub log    { slurp("$_[0]{dir}/dovecot.log") // '' }

sub start {
    my ($self) = @_;
    $self->{pid} = spawn({ out => "$self->{dir}/out" }, '/usr/sbin/dovecot', '-F', '-c', "$self->{dir}/dovecot.conf");
    wait_until(20, sub { IO::Socket::UNIX->new(Peer => $self->socket) })
        or die 'Dovecot does not answer: ' . slurp("$self->{dir}/out") . $self->log;
    return $self;
}

# Its auth process would serve whoever is connected to the end. Its master, stopped first, makes no new ones.
sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    kill 'STOP', $pid;
    my @all = Gatepost::Kit::descendants($pid);
    kill 'KILL', grep { $_ != $pid } @all;
    stop_pid($pid, 'KILL');
    wait_until(20, sub { !grep { is_alive($_) } @all });
    unlink $self->socket;
}

1;
